package Nightlight::Models;

# What functions give where the Prometheus at hand is older than the rules
# that hold here: slow models in Perl, fed with the answers to simpler
# questions.
#
#   my $m = Nightlight::Models->new(ask => sub { my ($query, $t) = @_; ... });
#   $m->knows($node)             # is there a model of this node?
#   $m->wrong($node, $t)         # '' or how the node's answer at $t differs
#   Nightlight::Models::replaced($tree)   # without these functions
#
# ask() gives the decoded "data" of an instant query.  Nodes are those of
# Nightlight::Expr.

use warnings;
use strict;

use Nightlight::Expr;

sub new { my ($class, %opt) = @_; return bless {%opt}, $class }

my %MODELS = (info => \&info, histogram_fraction => \&fraction,
    mad_over_time => \&mad);

sub function { my ($e) = @_; return $e->{f} =~ /^(\w+)\(/ ? $1 : '' }

sub knows { my ($self, $e) = @_; return exists $MODELS{function($e)} }

# The tree with a simple stand-in for each of these functions.
sub replaced {
    my ($e) = @_;
    my @k = map { replaced($_) } @{$e->{k}};
    my $f = function($e);
    return { %$e, f => '(%%)', k => [$k[0]] } if $f eq 'info';
    return { %$e, f => 'histogram_quantile(%%, %%)', k => [@k[0, 2]] }
        if $f eq 'histogram_fraction';
    return { %$e, f => 'max_over_time(%%)', k => \@k } if $f eq 'mad_over_time';
    return { %$e, k => \@k };
}

# ---- answers ----

sub number { my ($s) = @_; return $s =~ /NaN/ ? 'NaN' + 0 : $s =~ /Inf/ ? $s =~ /-/
    ? -9**9**9 : 9**9**9 : $s + 0 }

sub is_nan { return $_[0] != $_[0] }

sub key { my ($l) = @_; return join "\0", map { "$_\1$l->{$_}" } sort keys %$l }

# { key => [labels, value] } of an instant vector.
sub vector {
    my ($self, $query, $t) = @_;
    my $data = $self->{ask}->($query, $t) or return;
    return if $data->{resultType} ne 'vector';
    return { map { key($_->{metric}) => [$_->{metric}, number($_->{value}[1])] }
        @{$data->{result}} };
}

# { key => [labels, [t, v]...] } of a range vector.
sub matrix {
    my ($self, $query, $t) = @_;
    my $data = $self->{ask}->($query, $t) or return;
    return { map { key($_->{metric}) => [$_->{metric},
        map { [$_->[0], number($_->[1])] } @{$_->{values}}] } @{$data->{result}} };
}

sub scalar_of {
    my ($self, $query, $t) = @_;
    my $data = $self->{ask}->($query, $t) or return;
    return number($data->{result}[1]);
}

sub wrong {
    my ($self, $e, $t) = @_;
    my $text = Nightlight::Expr::text($e);
    my $have = $self->vector($text, $t);
    my $want = $MODELS{function($e)}->($self, $e, $t);
    return '' if !$have && (!$want || $want eq 'error');
    return '' if $want && $want eq 'unknown';
    return "$text at $t: " . ($have ? 'an answer' : 'an error') if !$have || !ref $want;
    for my $k (sort keys %$have, keys %$want) {
        my ($x, $y) = map { $_->{$k} } $have, $want;
        return "$text at $t: series " . join ' ', %{($x || $y)->[0]} if !$x || !$y;
        next if $x->[1] == $y->[1] || is_nan($x->[1]) && is_nan($y->[1]);
        return "$text at $t: $x->[1], not $y->[1]"
            if !(abs($x->[1] - $y->[1]) <= 1e-14 * abs($y->[1]));
    }
    return '';
}

# ---- mad_over_time: of all values, NaN if there is one ----

# (the 0.5-quantile of sorted values)
sub median {
    my @v = sort { $a <=> $b } @_;
    my $rank = ($#v) / 2;
    my $lo = int $rank;
    my $hi = $lo < $#v ? $lo + 1 : $lo;
    my $w = $rank - $lo;
    return $v[$lo] * (1 - $w) + $v[$hi] * $w;
}

sub nameless { my ($l) = @_; my %l = %$l; delete $l{__name__}; return \%l }

sub mad {
    my ($self, $e, $t) = @_;
    my $in = $self->matrix(Nightlight::Expr::text($e->{k}[0]), $t) or return;
    my %out;
    for my $s (values %$in) {
        my ($l, @p) = @$s;
        my @v = map { $_->[1] } @p;
        my $mad = 'NaN' + 0;
        if (!grep { is_nan($_) } @v) {
            my $m = median(@v);
            my @d = map { abs($_ - $m) } @v;
            # a difference of infinities sorts first, as NaN does
            my @nan = grep { is_nan($_) } @d;
            my @rest = sort { $a <=> $b } grep { !is_nan($_) } @d;
            @d = (@nan, @rest);
            my $rank = $#d / 2;
            my ($lo, $w) = (int $rank, $rank - int $rank);
            my $hi = $lo < $#d ? $lo + 1 : $lo;
            $mad = $d[$lo] * (1 - $w) + $d[$hi] * $w;
        }
        $l = nameless($l);
        return 'error' if $out{key($l)};
        $out{key($l)} = [$l, $mad];
    }
    return \%out;
}

# ---- histogram_fraction: the lowest bucket begins at 0 if it ends above ----

sub observations_below {
    my ($x, @b) = @_;
    my ($rank, $from) = (0, -9**9**9);
    for my $i (0 .. $#b) {
        my ($le, $n) = @{$b[$i]};
        $from = 0 if $i == 0 && $le > 0;
        return $rank if $from >= $x;
        # an unbounded bucket is not cut in two
        return $from == -9**9**9 ? $n
            : $rank + ($n - $rank) * ($x - $from) / ($le - $from) if $x < $le;
        ($rank, $from) = ($n, $le);
    }
    return $rank;
}

sub fraction {
    my ($self, $e, $t) = @_;
    my ($lo, $hi) = map { $self->scalar_of(Nightlight::Expr::text($e->{k}[$_]), $t) } 0, 1;
    my $in = $self->vector(Nightlight::Expr::text($e->{k}[2]), $t) or return;
    my %groups;
    for my $s (sort { key($a->[0]) cmp key($b->[0]) } values %$in) {
        my ($l, $v) = @$s;
        my $le = $l->{le} // '';
        next if $le !~ /^[+-]?(?:[0-9][0-9.]*(?:e[+-]?\d+)?|inf|nan)$/i
            && $le !~ /^0x[0-9a-f.]+p[+-]?\d+$/i;
        return 'unknown' if $le =~ /x|nan/i;
        my %l = %$l;
        delete $l{le};
        my $key = key(\%l);
        $groups{$key} ||= [\%l, {}];
        $groups{$key}[1]{number($le)} += $v;
    }
    my %out;
    for my $g (values %groups) {
        my ($l, $counts) = @$g;
        $l = nameless($l);
        my @b = map { [number($_), $counts->{$_}] }
            sort { number($a) <=> number($b) } keys %$counts;
        my $total = $b[-1][1];
        return 'error' if $out{key($l)};
        my ($below_lo, $below_hi) = map { my $n = observations_below($_, @b);
            $n > $total ? $total : $n } $lo, $hi;
        my $v = $b[-1][0] != 9**9**9 || $total == 0 || is_nan($lo) || is_nan($hi)
            ? 'NaN' + 0 : $lo >= $hi ? 0
            : ($below_hi - $below_lo) / $total;
        $out{key($l)} = [$l, $v];
    }
    return \%out;
}

# ---- info ----

# offset and @ of the first selector, in the order of evaluation; undef if a
# subquery is above it.
sub shift_of {
    my ($e) = @_;
    my @k = @{$e->{k}};
    return if $e->{f} =~ /:/ || !@k && $e->{f} =~ /\boffset\b|\@/;
    return Nightlight::Expr::text($k[-1])
        if $e->{f} eq '%%%%' || $e->{f} =~ /^%%\[%%\]/;
    @k = reverse @k if $e->{f} =~ /^(?:topk|bottomk|limitk|quantile|limit_ratio|count_values)\b/;
    for my $k (@k) {
        next if $k->{t} eq 'x';
        my $s = shift_of($k);
        return $s if !defined $s || $s ne 'none';
    }
    return 'none';
}

sub info {
    my ($self, $e, $t) = @_;
    # with delayed removal of names they are still there
    my $base = $self->vector('label_replace(' . Nightlight::Expr::text($e->{k}[0])
        . ', "_name", "$1", "__name__", "(.*)")', $t) or return;
    my $shift = shift_of($e->{k}[0]);
    return 'unknown' if !defined $shift;
    $shift = '' if $shift eq 'none';
    my @m = map { [/^"?(.*?)"?(=~|!~|!=|=)"(.*)"$/] }
        Nightlight::Expr::text($e->{k}[1]) =~ /((?:\w+|"[^"]*")(?:=~|!~|!=|=)"[^"]*")/g;
    my @names = grep { $_->[0] eq '__name__' } @m;
    @names = (['__name__', '=', 'target_info']) unless @names;
    my @data = grep { $_->[0] ne '__name__' } @m;
    my $sel = '{' . join(',', map { "\"$_->[0]\"$_->[1]\"$_->[2]\"" } @names, @data) . '}';
    my $there = $self->vector("$sel$shift", $t) or return;
    my $times = $self->matrix("$sel\[5m]$shift", $t) or return;
    my %out;
    for my $s (values %$base) {
        my ($l, $v) = @$s;
        my $name = delete $l->{_name};
        my %l = %$l;
        if (!grep { !matches($_, $name // '') } @names) {
            $out{key($l)} = $s;
            next;
        }
        my %best;    # by name
        for my $k (sort keys %$there) {
            my $i = $there->{$k}[0];
            next if !defined($l->{instance} // $l->{job});
            next if ($i->{job} // '') ne ($l->{job} // '')
                || ($i->{instance} // '') ne ($l->{instance} // '');
            my $at = $times->{$k}[-1][0];
            my $have = $best{$i->{__name__}};
            return 'error' if $have && $have->[0] == $at;
            $best{$i->{__name__}} = [$at, $i] if !$have || $at > $have->[0];
        }
        next if !%best && grep { !matches($_, '') } @data;
        for my $i (map { $best{$_}[1] } sort keys %best) {
            for my $n (grep { !/^(?:__name__|job|instance)$/ } keys %$i) {
                next if exists $l->{$n} || @data && !grep { $_->[0] eq $n } @data;
                return 'error' if exists $l{$n} && $l{$n} ne $i->{$n};
                $l{$n} = $i->{$n};
            }
        }
        return 'error' if $out{key(\%l)};
        $out{key(\%l)} = [\%l, $v];
    }
    return \%out;
}

sub matches {
    my ($m, $v) = @_;
    my (undef, $op, $want) = @$m;
    my $yes = $op =~ /~/ ? $v =~ /^(?s:$want)$/ : $v eq $want;
    return $op =~ /^!/ ? !$yes : $yes;
}

1;
