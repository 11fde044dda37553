#!/usr/bin/perl
# Random expressions over random data, asked of Nightlight and of the real
# Prometheus: results compared as they are printed, errors, warnings and infos
# with their positions.  lib/Nightlight/Expr.pm makes both from a seed.  Every
# other expression is evaluated with delayed removal of metric names, by
# another Prometheus with the same data.
#
#   NLT_TEST_SEED=7          the seed
#   NLT_DIFF_N=10000         how many expressions, each instant and range
#   NLT_DIFF_ONLY=12,34      these of them, with all answers
#   NLT_DIFF_EXPR='up == 1'  this one in place of them
#   NLT_DIFF_ULPS=0          distance at which values are still the same
#   NLT_DIFF_FAILS=10        stops after so many differences
#   NLT_DIFF_TELL=1         shows those that are explained
#   TEST_PROMETHEUS=...      the Prometheus to compare with, 3.0 at least
#
# What may differ, and why: explained() and unsettled().
use strict;
use warnings;
no warnings "portable";    # 64-bit literals
use Encode ();
use JSON::PP qw(decode_json);
use POSIX ();
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Expr;
use Nightlight::Models;
use Nightlight::Oracle;

binmode $_, ':utf8' for Test::More->builder->output,
    Test::More->builder->failure_output, Test::More->builder->todo_output;

my $t = Nightlight::Test->new();
my $o = Nightlight::Oracle->new($t) or plan(skip_all => $@);
my $version = $o->{version};
my %has = %{$o->{has}};

my $seed = $ENV{NLT_TEST_SEED} || 1;
my $n = $ENV{NLT_DIFF_N} || 1500;
note("NLT_TEST_SEED=$seed, $n expressions, prometheus $version");

note('without ' . join(' ', grep { !$has{$_} } sort keys %has));

# ---- the data ----

my $gen = Nightlight::Expr->new(seed => $seed, has => \%has,
    (defined $ENV{NLT_DIFF_DAMAGE} ? (damage => $ENV{NLT_DIFF_DAMAGE}) : ()));
my ($n_series, $n_samples) = (0, 0);
{
    my $pb = '';
    for my $s ($gen->data()) {
        my ($labels, @samples) = @$s;
        $pb .= Nightlight::Test::series_pb($labels,
            map { [$_->[0], \$_->[1]] } @samples);
        $n_series++;
        $n_samples += @samples;
    }
    my $body = Nightlight::Test::snappy($pb);
    is(join(' ', $o->write($body)), '204 204 204',
        "$n_series series, $n_samples samples");
}

# ---- comparing ----

# An answer by parts: error, type, series ([labels, points...]), notes.
sub parts {
    my ($r) = @_;
    my $b = $r->{body};
    return { error => $r->{status} . ' ' . $b } if $r->{status} != 200;
    my %a;
    for my $kind ('infos', 'warnings') {
        if ($b =~ s/,"$kind":\[((?:"(?:[^"\\]|\\.)*",?)*)\]\}\s*\z/}/) {
            my %once = map { $_ => 1 } $1 =~ /("(?:[^"\\]|\\.)*")/g;
            $a{$kind} = [sort keys %once];
        }
    }
    $b =~ s/^\{"status":"success","data":\{"resultType":"(\w+)","result":(.*)\}\}\s*\z/$2/s
        or return { error => "broken: $b" };
    $a{type} = $1;
    return { %a, series => [$b] } if $a{type} =~ /scalar|string/;
    $b =~ s/^\[(.*)\]\z/$1/s;
    $a{series} = [split /,(?=\{"metric":)/, $b];
    return \%a;
}

my ($inexact, $exact, $empty, $errors, $notes) = (0) x 5;

# Distance of two doubles in units of the last place.
sub ulps {
    my ($x, $y) = @_;
    my @k = map { my $b = unpack('q<', pack('d<', $_));
        $b < 0 ? -($b & 0x7fffffffffffffff) : $b } $x, $y;
    return abs($k[0] - $k[1]);
}

my $worst = 0;

# Are two series the same, values to $ulps?
sub same_series {
    my ($x, $y, $ulps) = @_;
    return 1 if $x eq $y;
    return 0 if !$ulps;
    my @v = map { my @v; s/(\[[\d.-]+,)"([^"]*)"\]/push @v, $2; "$1]"/ge; \@v }
        my @rest = ($x, $y);
    my @s = map { (my $s = $_) =~ s/(\[[\d.-]+,)"[^"]*"\]/$1]/g; $s } $x, $y;
    return 0 if $s[0] ne $s[1];
    for my $i (0 .. $#{$v[0]}) {
        my ($p, $q) = ($v[0][$i], $v[1][$i]);
        next if $p eq $q;
        return 0 if "$p$q" =~ /N|I/;
        my $u = ulps($p, $q);
        return 0 if $u > $ulps;
        $worst = $u if $u > $worst;
        $inexact++;
    }
    return 1;
}

sub labels_of { my ($s) = @_; return $s =~ /^(\{"metric":\{.*?\}),"values?":/s ? $1 : $s }

# "" or what differs.
sub difference {
    my ($x, $y, $query, $ulps) = @_;
    $ulps //= $ENV{NLT_DIFF_ULPS} // 4;
    return '' if $x->{body} eq $y->{body};
    my ($p, $q) = (parts($x), parts($y));
    if ($p->{error} || $q->{error}) {
        my @e = map { $_->{error} || '200' } $p, $q;
        return $e[0] eq $e[1] ? '' : "error: $e[0]\n not $e[1]";
    }
    return "type $p->{type}, not $q->{type}" if $p->{type} ne $q->{type};
    for my $kind ('warnings', 'infos') {
        # 3.5 has the names of metrics in this text, so that it occurs twice
        if ($query =~ /histogram_.*histogram_/s) {
            for my $list (grep { $_ } map { $_->{$kind} } $p, $q) {
                s/((?:monotonicity|label \\"le\\").*) \(\d+:\d+\)/$1/ for @$list;
                my %once = map { $_ => 1 } @$list;
                @$list = sort keys %once;
            }
        }
        my @l = map { join "\n", @{$_->{$kind} || []} } $p, $q;
        # which are left out is not specified
        next if !grep { !/more \w+ annotations omitted/ } @l;
        return "$kind: $l[0]\n not $l[1]" if $l[0] ne $l[1];
    }
    my @s = map { $_->{series} } $p, $q;
    if ($p->{type} eq 'vector') {
        # an instant vector has no order; one that is sorted has, but for
        # elements of the same value
        if ($query =~ /^\s*sort(?:_desc)?\s*\(/) {
            my @v = map { join ' ', map { /"([^"]*)"\]\}\z/ ? $1 : '' } @$_ } @s;
            s/(^| )-0(?= |$)/${1}0/g for @v;
            return "order: $v[0]\n not $v[1]" if $v[0] ne $v[1];
        }
        @s = map { [sort { labels_of($a) cmp labels_of($b) } @$_] } @s;
    }
    return @{$s[0]} . ' series, not ' . @{$s[1]} if @{$s[0]} != @{$s[1]};
    for my $i (0 .. $#{$s[0]}) {
        next if same_series($s[0][$i], $s[1][$i], $ulps);
        return first_difference($s[0][$i], $s[1][$i]);
    }
    return '';
}

# The values around the first that differs.
sub first_difference {
    my ($x, $y) = @_;
    my @l = map { labels_of($_) } $x, $y;
    return "series $l[0]\n not $l[1]" if $l[0] ne $l[1];
    my @v = map { [/\[[\d.-]+,"[^"]*"\]/g] } $x, $y;
    for my $i (0 .. $#{$v[0]}) {
        my ($p, $q) = map { defined $_ ? $_ : 'nothing' } $v[0][$i], $v[1][$i];
        return "value $p\n  not $q (point $i of " . @{$v[0]} . ', ' . @{$v[1]}
            . ") of $l[0]" if $p ne $q;
    }
    return "points " . @{$v[0]} . ", not " . @{$v[1]} . " of $l[0]";
}

# Asks both: what differs, and the two answers.
sub differ {
    my ($query, $path, @when) = @_;
    my $x = $o->nightlight($path, query => $query, @when);
    my $y = $o->prometheus($path, query => $query, @when);
    return (difference($x, $y, $query), $x, $y);
}

# ---- what may differ ----
#
# A difference is explained when the rule that has changed since 3.5 accounts
# for all of it: either a model of the new rule says what Nightlight says and
# the rest of the query is without a difference, or Prometheus, asked in other
# words, says the same.

my $models = Nightlight::Models->new(ask => sub {
    my ($query, $t) = @_;
    my $r = $o->nightlight('query', query => $query, time => sprintf('%.3f', $t));
    return $r->{status} == 200 ? decode_json(Encode::encode_utf8($r->{body}))->{data}
        : undef;
});

# The times of a query: all steps, or not more than $most of them.
sub steps_of {
    my ($path, %when) = @_;
    my $most = delete $when{most};
    return $when{time} if $path eq 'query';
    my @t;
    for (my $i = 0; ; $i++) {
        # in milliseconds, as they are kept
        my $ms = sprintf('%.0f', $when{start} * 1000) + $i * sprintf('%.0f', $when{step} * 1000);
        last if $ms > sprintf('%.0f', $when{end} * 1000);
        push @t, sprintf('%.3f', $ms / 1000);
    }
    return @t if !$most || @t <= $most;
    return @t[map { int($_ * $#t / ($most - 1)) } 0 .. $most - 1];
}

# The text for an instant query at a step of a range query.
sub pinned {
    my ($query, $path, %when) = @_;
    return $query if $path eq 'query';
    $query =~ s/\@ start\(\)/@ $when{start}/g;
    $query =~ s/\@ end\(\)/@ $when{end}/g;
    return $query;
}

# { labels => value } of an answer at a time; undef for an error.
sub at_time {
    my ($r, $t) = @_;
    my $p = parts($r);
    return if $p->{error};
    my %v;
    for my $s (@{$p->{series}}) {
        for my $point ($s =~ /(\[[\d.-]+,"[^"]*"\])/g) {
            $point =~ /\[([\d.-]+),"(.*)"/;
            $v{labels_of($s)} = $2 if $1 == $t;
        }
        $v{'{"metric":{}'} = $1 if $p->{type} eq 'scalar' && $s =~ /"(.*)"/;
    }
    return \%v;
}

# In range queries there is no order.
sub unsorted {
    my ($e) = @_;
    my @k = map { unsorted($_) } @{$e->{k}};
    return $k[0] if $e->{f} =~ /^sort/;
    return { %$e, k => \@k };
}

# Is each step of a range query what the instant query gives, and that the
# same as in Prometheus?  The order of series is none of its concern there.
# Series that take turns can differ in their names.
sub step_by_step {
    my ($e, $query, $x, @how) = @_;
    my ($path, @when) = @how;
    return 0 if $path ne 'query_range' || $x->{status} != 200;
    $e = unsorted($e);
    $query = Nightlight::Expr::text($e);
    for my $t (steps_of(@how)) {
        my ($d, $at, $theirs) = differ(pinned($query, @how), 'query', time => $t);
        my ($mine, $other) = map { at_time($_, $t) } $x, $at;
        return 0 if !$other || join("\1", %$mine{sort keys %$mine})
            ne join("\1", %$other{sort keys %$other});
        return 0 if $d && !explained($e, $query, $at, $theirs, 'query', time => $t);
    }
    return 1;
}

# A tree of text: no more of it than the calls that are looked for here.
sub retree {
    my ($text) = @_;
    return { t => 'v', f => $text, k => [] } if $text !~
        /^(.*?)\b(info|histogram_fraction|mad_over_time|timestamp
        |(?:topk|bottomk|limitk|limit_ratio)(?:\s*(?:by|without)\s*\([^()]*\))?)\s*\((.*)$/sx;
    my ($before, $name, $rest) = ($1, $2, $3);
    my ($depth, $at, @args) = (0, 0);
    while ($rest =~ /("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[()\[\]{},])/g) {
        my $c = $1;
        if (($c eq ',' || $c eq ')') && $depth == 0) {
            push @args, substr $rest, $at, pos($rest) - 1 - $at;
            $at = pos $rest;
            last if $c eq ')';
        }
        $depth++ if $c =~ /^[(\[{]/;
        $depth-- if $c =~ /^[)\]}]/;
    }
    @args = ($args[0], @args > 1 ? ", $args[1]" : '') if $name eq 'info';
    my $form = $name eq 'info' ? 'info(%%%%)' : "$name(" . join(', ', ('%%') x @args) . ')';
    my $call = { t => 'v', f => $form, k => [map { retree($_) } @args] };
    return { t => 'v', f => '%%%%%%', k => [map({ { t => 'x', f => $_, k => [] } } $before),
        $call, retree(substr $rest, $at)] };
}

sub nodes { my ($e) = @_; return ($e, map { nodes($_) } @{$e->{k}}) }

# Functions that have a model: they agree with it, and without them there is
# no difference.
sub modelled {
    my ($e, $query, $x, $y, @how) = @_;
    my @nodes = grep { $models->knows($_) } nodes($e);
    return if !@nodes;
    for my $node (@nodes) {
        my $n = pinned_tree($node, @how);
        my $r = $how[0] eq 'query_range' ? $o->nightlight($how[0],
            query => Nightlight::Expr::text($n), @how[1 .. $#how]) : undef;
        for my $t (steps_of(@how, most => 4)) {
            my $w = $models->wrong($n, $t);
            if ($w) {
                diag("model: $w");
                return;
            }
            my $v = $r && at_time($r, $t) or next;
            my $i = at_time($o->nightlight('query', time => $t,
                query => Nightlight::Expr::text($n)), $t);
            return if !$i || join("\1", %$v{sort keys %$v}) ne join("\1", %$i{sort keys %$i});
        }
    }
    my $rest = Nightlight::Models::replaced($e);
    my ($d, $p, $q) = differ(Nightlight::Expr::text($rest), @how);
    my @rest = ($rest, Nightlight::Expr::text($rest), $p, $q, @how);
    return if $d && !explained(@rest) && !unsettled(@rest);
    my %f = map { Nightlight::Models::function($_) => 1 } @nodes;
    return join ' ', sort keys %f;
}

sub pinned_tree {
    my ($e, @how) = @_;
    return { %$e, f => pinned($e->{f}, @how), k => [map { pinned_tree($_, @how) } @{$e->{k}}] };
}

# Seconds of a duration (expression).
sub seconds {
    my ($d) = @_;
    my %unit = (ms => 0.001, s => 1, m => 60, h => 3600, '' => 1);
    $d =~ s/((?:[\d.]+(?:ms|[smh])?)+)/my $s = $1; my $n = 0;
        $n += $1 * $unit{$2 \/\/ ''} while $s =~ m{([\d.]+)(ms|[smh])?}g; $n/ge;
    $d =~ s/\^/**/g;
    $d =~ s/([\d.]+) % ([\d.]+)/POSIX::fmod($1, $2)/ge;
    return $d =~ m{^[\d.+*/()\s-]+$} ? eval($d) : undef;
}

# The tree with timestamp(x offset o @ t) said without the offset, which 3.5
# forgets there.
sub without_offset {
    my ($e, $path, %when) = @_;
    my @k = map { without_offset($_, $path, %when) } @{$e->{k}};
    return { %$e, k => \@k } if $e->{f} ne 'timestamp(%%)' || $k[0]{f} ne '%%%%';
    my ($sel, $shift) = map { Nightlight::Expr::text($_) } @{$k[0]{k}};
    my ($at) = $shift =~ /\@ (\S+)/;
    my ($off) = $shift =~ /offset (-?(?:\(.*\)|[\w.]+))/;
    return { %$e, k => \@k } if !defined $at || !defined $off;
    $at = $when{start} // $when{time} if $at eq 'start()';
    $at = $when{end} // $when{time} if $at eq 'end()';
    $off = seconds($off);
    return { %$e, k => \@k } if !defined $off;
    return { %$e, k => [{ t => 'v', k => [], f => sprintf('%s @ %.3f', $sel, $at - $off) }] };
}

# The tree with topk and kin told 1 where their operand is empty.
sub minding_k {
    my ($e) = @_;
    my @k = map { minding_k($_) } @{$e->{k}};
    $k[0] = { t => 's', f => 'scalar((vector(%%) and on() (%%)) or on() vector(1))',
        k => [@k] } if $e->{f} =~ /^(?:topk|bottomk|limitk|limit_ratio)\b/;
    return { %$e, k => \@k };
}

# Has the same query in other words no difference?
sub reworded {
    my ($tree, $query, @how) = @_;
    my $text = Nightlight::Expr::text($tree);
    return 0 if $text eq $query;
    my ($d, $x, $y) = differ($text, @how);
    return !$d || explained($tree, $text, $x, $y, @how);
}

# Where an error is in the query, and what it is.
sub error_of {
    my ($r) = @_;
    return $r->{body} =~ /invalid parameter \\"query\\": 1:(\d+): parse error: (.*)"\}/
        ? ($1, $2) : (0, '');
}

# The lexer of brackets is another one since.
sub brackets {
    my ($query, $x, $y) = @_;
    my ($px, $tx) = error_of($x);
    my ($py, $ty) = error_of($y);
    # "[5m x]" is accepted there
    return 1 if $y->{status} == 200 && $tx =~ /^unexpected character: '\w', expected ':'$/
        && substr($query, 0, $px - 1) =~ /\[[^\]]*[\w.)]\s+$/;
    return 0 if !$px || !$py;
    my $bytes = Encode::encode_utf8($query);
    my ($cx, $cy) = map { substr($bytes, $_ - 1, 1) } $px, $py;
    return 0 if substr($bytes, 0, $px - 1) !~ /\[[^\]]*$/;
    return $tx eq "unexpected character: '$cx', expected ':'"
        && ($ty eq "unexpected colon '$cy'" && $py - $px <= 1 && $py >= $px
            || $py == $px && $ty =~ /^unexpected \\"$cx/
            # behind a number or ')' it took words for more of the duration
            || $py > $px && substr($bytes, 0, $px - 1) =~ /(?:\)|[\d.]\w*)\s*$/
            && $ty =~ /^(?:unclosed|unexpected) /)
        # a comma may be between arguments since
        || $px == $py && $tx =~ /^unexpected \\",\\" in subquery selector/
        && $ty eq "unexpected character in duration expression: ','";
}

# Is the difference one that is known and has its reason?
sub explained {
    my ($e, $query, $x, $y, @how) = @_;
    return if $version > 3.5;
    return 'brackets' if $x->{status} == 400 && brackets($query, $x, $y);
    if ($x->{status} == 400 && $y->{status} == 400) {
        # it trips over its own feet
        return 'trips' if $y->{body} =~ /invalid parameter \\"query\\": unexpected error"/
            && $x->{body} =~ /parse error: /;
    }
    # these are functions since
    if ($y->{status} == 400 && $query =~ /\b(?:start|end|step|range|m(?:ax|in)_of)\s*\(/) {
        my ($p) = error_of($y);
        return 'functions' if substr($query, $p > 6 ? $p - 7 : 0, 14)
            =~ /\b(?:start|end|step|range|m(?:ax|in)_of)\s*\(/;
    }
    # an offset of NaN or Inf seconds has got an error since
    if ($y->{status} != 400 && $x->{body} =~
        /invalid parameter \\"query\\": (\d+):(\d+): duration is out of range"/)
    {
        my $d = substr $query, $1, $2 - $1;    # without a '(' in front
        $d = "($d" while ($d =~ tr/)//) > ($d =~ tr/(//);
        my $r = $o->prometheus('query', query => $d);
        return 'nan' if $r->{body} =~ /NaN|Inf/;
    }
    $e = retree($query) if $e->{cut};
    # it does not look at k when there is nothing to choose from
    if ($x->{body} =~
        /"error":"(?:Parameter value is NaN|Scalar value \S+ (?:over|under)flows)/)
    {
        return 'k' if reworded(minding_k($e), $query, @how);
    }
    # it has lost strings in parentheses
    if ($y->{body} =~ /unexpected result in StepInvariantExpr/) {
        (my $q = $query) =~ s/\(\s*("[^"]*"|'[^']*')\s*\)/$1/g;
        return 'strings' if reworded({ t => 'v', f => $q, k => [], cut => 1 },
            $query, @how);
    }
    if ($query =~ /timestamp/) {
        my $w = without_offset($e, @how);
        my $r = $o->nightlight($how[0], query => Nightlight::Expr::text($w),
            @how[1 .. $#how]);
        return 'timestamp' if $r->{body} eq $x->{body} && reworded($w, $query, @how);
    }
    # @ in parameters of aggregations moves with the steps there
    if ($how[0] eq 'query_range') {
        my %when = @how[1 .. $#how];
        my $w = moved_parameters($e, $when{start});
        my $text = Nightlight::Expr::text($w);
        return 'parameter' if $text ne $query
            && !difference($o->nightlight($how[0], query => $text, @how[1 .. $#how]), $y, $query);
    }
    my $f = modelled($e, $query, $x, $y, @how);
    return $f if $f;
    # series that take turns are one since; what is pinned by @ is evaluated
    # for more times than are looked at, and may fail at one of them
    return 'turns' if $y->{status} == 422 && $x->{status} == 200
        && (step_by_step($e, $query, $x, @how) || turns_below($e, @how));
    return;
}

# Does Prometheus fail so in a subquery, asked as a range query?
sub turns_below {
    my ($e, $path, %when) = @_;
    for my $node (grep { $_->{f} eq '%%[%%:%%]%%' } nodes($e)) {
        my ($inner, $range, $step, $shift) = map { Nightlight::Expr::text($_) } @{$node->{k}};
        my $off = $shift =~ /offset (-?(?:\(.*\)|[\w.]+))/ ? seconds($1) : 0;
        my $end = $shift =~ /\@ ([\d.]+)/ ? $1 : $when{time} // $when{end};
        ($range, $step) = (seconds($range), $step eq '' ? 60 : seconds($step));
        next if !$range || !$step || !defined $off;
        my @how = ('query_range', step => $step, end => sprintf('%.3f', $end -= $off),
            start => sprintf '%.3f', POSIX::ceil(($end - $range) / $step) * $step);
        my ($d, $x, $y) = differ($inner, @how);
        return 1 if $y->{status} == 422 && step_by_step($node->{k}[0], $inner, $x, @how);
    }
    return 0;
}

# The tree as 3.5 understands it in range queries: inside of parameters the
# first step looks where @ says, the next ones as much later, and nobody has
# resolved start() and end().
sub moved_parameters {
    my ($e, $start, $inside) = @_;
    my $aggr = $e->{f} =~ /^(?:topk|bottomk|limitk|limit_ratio|quantile)\b/;
    my ($i, $f) = (0, $e->{f});
    if ($inside) {
        $f =~ s/ ?\@ (?:start|end)\(\)//g;
        my ($at) = $f =~ /\@ ([\d.]+)/;
        my $off = $f =~ /offset (-?(?:\(.*\)|[\w.]+))/ ? seconds($1) : 0;
        $f = sprintf ' offset %.3f', $start - $at + $off if defined $at && defined $off
            && $f =~ /^ *(?:\@|offset)/;
    }
    return { %$e, f => $f, k => [map { moved_parameters($_, $start,
        $inside || $aggr && !$i++) } @{$e->{k}}] };
}

# Do limitk, topk and bottomk choose as many of their operand as they should,
# none better is left behind, and is the rest of the query without a difference?
sub chosen {
    my ($e, $query, @how) = @_;
    my @nodes = grep { $_->{f} =~ /^(?:limitk|topk|bottomk)\b/ } nodes($e);
    for my $node (@nodes) {
        my $by = $node->{f} =~ /((?:by|without) *\([^)]*\))/ ? $1 : '';
        my @texts = (Nightlight::Expr::text($node), Nightlight::Expr::text($node->{k}[1]));
        my @count = map { "count $by (" . $_ . ')' } map { $_ // '' } @texts;
        my $k = Nightlight::Expr::text($node->{k}[0]);
        s/^count  /count / for @count;
        my $left = "(($texts[1]) unless ($texts[0]))";
        # as many, and nothing that is not there
        for my $q ($node->{f} =~ /^topk/ ? "max $by $left > min $by ($texts[0])"
            : $node->{f} =~ /^bottomk/ ? "min $by $left < max $by ($texts[0])" : (),
            "($count[0]) != clamp_max($count[1], $k - $k % 1)",
            "($count[1]) unless ($count[0])", "($texts[0]) unless ($texts[1])")
        {
            my $r = $o->nightlight($how[0], query => $q, @how[1 .. $#how]);
            return 0 if $r->{body} !~ /"result":\[\]/;
        }
    }
    return @nodes && reworded(without_choice($e), $query, @how);
}

sub without_choice {
    my ($e) = @_;
    return without_choice($e->{k}[1]) if $e->{f} =~ /^(?:limitk|topk|bottomk)\b/;
    return { %$e, k => [map { without_choice($_) } @{$e->{k}}] };
}

# Does Prometheus give different answers itself?  The order of series inside
# of a range query is that of a Go map there; sums, ties of topk and the
# choice of limitk depend on it.  So does histogram_quantile(), always.
sub unsettled {
    my ($e, $query, $x, $y, @how) = @_;
    my $other = 0;
    for my $try (1 .. 300) {
        last if $try > 20 && !$other;
        my $z = $o->prometheus($how[0], query => $query, @how[1 .. $#how]);
        $other++ if $z->{body} ne $y->{body};
        return 'order' if difference($x, $z, $query) eq '';
    }
    return if !$other;
    # too many orders to meet ours: the steps one by one
    return 'order, by steps' if step_by_step($e, $query, $x, @how);
    # or anything of the operand of limitk, any of what is equal for topk
    return 'choice' if chosen($e, $query, @how);
    # sums below a subquery: the first half of the digits are the same
    return 'order of sums' if $query =~ /\[[^\]]*:/
        && difference($x, $y, $query, 1 << 30) eq '';
    return;
}

# ---- the questions ----

# When to ask: of the i-th expression.
sub moment {
    my ($i) = @_;
    srand($seed * 31 + $i);
    my $when = sub {
        my $ms = $Nightlight::Expr::T0_MS + int(rand($Nightlight::Expr::SPAN_MS * 1.15));
        $ms -= $ms % 15_000 if rand() < 0.5;
        return $ms;
    };
    my $start = $when->();
    my $step = (1, 15, 30, 60, 7.5, 100, 300, 13.37)[rand 8];
    return ([time => sprintf '%.3f', $when->() / 1000],
        [start => sprintf('%.3f', $start / 1000), step => $step,
        end => sprintf('%.3f', $start / 1000 + $step * (0, 1, 5, 20, 40)[rand 5])]);
}

sub minimise {
    my ($e, $parses, $path, @when) = @_;
    AGAIN: for (1 .. 60) {
        for my $s (Nightlight::Expr::smaller($e)) {
            next if Nightlight::Expr::size($s) >= Nightlight::Expr::size($e);
            my $text = Nightlight::Expr::text($s);
            my ($d, $x, $y) = differ($text, $path, @when);
            if ($d && ($x->{status} != 400 || !$parses)
                && !explained($s, $text, $x, $y, $path, @when)
                && !unsettled($s, $text, $x, $y, $path, @when))
            {
                $e = $s;
                next AGAIN;
            }
        }
        last;
    }
    return $e;
}

# Reports a difference with the smallest expression that still has it.
sub report {
    my ($i, $e, $x, @how) = @_;
    my $small = minimise($e, $x->{status} != 400, @how);
    my $text = Nightlight::Expr::text($small);
    my ($why) = differ($text, @how);
    diag("$i, $o->{mode}: @how\n  ", Nightlight::Expr::text($e),
        "\n  smallest: $text\n  ",
        substr(join("\n  ", split /\n/, $why), 0, 1200));
}

my @which = defined $ENV{NLT_DIFF_ONLY} ? split(/,/, $ENV{NLT_DIFF_ONLY})
    : 0 .. $n - 1;
my $given = $ENV{NLT_DIFF_EXPR};
utf8::decode($given) if defined $given;
my ($failed, $seen_wrong, $seen, $from, %explained) = (0, 0, 0, time());

# Do both say that as many samples were looked at?  (3.5 finds other info
# series.)
sub seen_wrong {
    my ($e, $query, @how) = @_;
    my %when = @how[1 .. $#how];
    my $mine = $how[0] eq 'query_range' && $o->{version} <= 3.5
        ? Nightlight::Expr::text(moved_parameters($e, $when{start})) : $query;
    my @n = map { my ($who, $q) = @$_;
        $o->$who($how[0], query => $q, @how[1 .. $#how], stats => 'all')->{body}
            =~ /"totalQueryableSamples":(\d+)/ ? $1 : 'none'
    } ['nightlight', $mine], ['prometheus', $query];
    $seen++;
    return 0 if $query =~ /\binfo\b/ && $o->{version} <= 3.5;
    return 0 if $n[0] eq $n[1];
    diag("@how, $o->{mode}: $n[0] samples, not $n[1]: $query");
    return 1;
}

EXPR: for my $i (@which) {
    my $e = defined $given ? { t => 'v', f => $given, k => [], cut => 1 } : $gen->expr($i);
    my $query = Nightlight::Expr::text($e);
    my ($instant, $range) = moment($i);
    $o->{mode} = $i % 2 ? 'delayed' : 'prom';
    for my $how (['query', @$instant], ['query_range', @$range]) {
        my ($d, $x, $y) = differ($query, @$how);
        $empty++ if $x->{body} =~ /"result":\[\]/;
        $errors++ if $x->{status} != 200;
        $notes++ if $x->{body} =~ /"(?:warnings|infos)":\["PromQL/;
        diag("$query @$how\n$x->{body}\n$y->{body}")
            if defined $ENV{NLT_DIFF_ONLY};
        $seen_wrong += seen_wrong($e, $query, @$how) if $d eq '' && $i % 3 == 0
            && $x->{status} == 200;
        next if $d eq '';
        my $why = explained($e, $query, $x, $y, @$how)
            || unsettled($e, $query, $x, $y, @$how);
        if ($why) {
            $explained{$why}++;
            note("$why: $query (@$how, $o->{mode})\n$d") if $ENV{NLT_DIFF_TELL};
            next;
        }
        report($i, $e, $x, @$how);
        last EXPR if ++$failed >= ($ENV{NLT_DIFF_FAILS} || 10);
        last;
    }
}
is($failed, 0, scalar(@which) . ' expressions without a difference');
is($seen_wrong, 0, "$seen times as many samples were seen");
note('explained: ', join(', ', map { "$explained{$_} $_" } sort keys %explained));
note(sprintf '%d empty, %d errors, %d with notes, %d values within %d ulp; %.1f s',
    $empty, $errors, $notes, $inexact, $worst, time() - $from);
unless (defined $ENV{NLT_DIFF_ONLY}) {
    my $told = 0;
    $told += $_ for values %explained;
    cmp_ok($told, '<', @which / 20, "$told of them are explained");
    cmp_ok($empty + $errors, '<', @which, 'most have a result');
}
$t->expect_log(qr/^parser panic: runtime error/);    # of Prometheus
$t->done();
