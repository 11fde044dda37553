package Nightlight::Expr;

# Random PromQL over random data, both made from a seed.
#
#   my $g = Nightlight::Expr->new(seed => 7, has => \%functions);
#   for my $s ($g->data) { my ($labels, @samples) = @$s; ... }   # [t_ms, bits]
#   my $e = $g->expr(12);          # the 13th expression, a tree
#   print Nightlight::Expr::text($e);
#   for my $smaller (Nightlight::Expr::smaller($e)) { ... }      # to minimise
#
# A tree is { t => type, f => format, k => [kids] }: the text of the kids goes
# where the format has "%%".  Types are s(calar), v(ector), m(atrix: a range)
# and x (other text).  Expressions are correctly typed, except that one in ten
# has its text damaged on purpose.

use warnings;
use strict;
no warnings "portable";    # 64-bit literals

our $T0_MS = 1_700_000_000_000;    # data begin here, ...
our $SPAN_MS = 2_700_000;          # ... and end here

sub new {
    my ($class, %opt) = @_;
    return bless { seed => 1, has => {}, %opt }, $class;
}

# ---- dice ----

sub one { return $_[rand @_] }
sub chance { return rand() < $_[0] }
sub int_in { my ($lo, $hi) = @_; return $lo + int(rand($hi - $lo + 1)) }

# One of (weight => thing, ...).
sub weighted {
    my @w = @_;
    my $sum = 0;
    $sum += $w[$_ * 2] for 0 .. $#w / 2;
    my $r = rand($sum);
    for my $i (0 .. $#w / 2) {
        return $w[$i * 2 + 1] if ($r -= $w[$i * 2]) < 0;
    }
    return $w[-1];
}

# ---- data ----

my $STALE = pack('Q<', 0x7ff0000000000002);

sub bits { return pack('d<', $_[0]) }

my @ODD = map { pack('Q<', $_) }
    0x7ff8000000000001,     # NaN
    0x7ff0000000000000,     # +Inf
    0xfff0000000000000,     # -Inf
    0x8000000000000000,     # -0
    0x0000000000000000, 0x0000000000000001, 0x7fefffffffffffff,
    0xffefffffffffffff, 0x3ff0000000000000, 0xbff0000000000000,
    0x3fb999999999999a, 0x4340000000000000, 0x0010000000000000;

sub odd { return chance(0.75) ? one(@ODD) : bits((rand() - 0.5) * 10 ** int_in(-20, 20)) }

# Times of a series: regular or not, with gaps.
sub moments {
    my (%p) = @_;
    my @t;
    my $gap = $p{gap} || one(10_000, 15_000, 15_000, 30_000, 60_000);
    my $from = $p{whole} || chance(0.6) ? 0 : int_in(0, $SPAN_MS);
    my $upto = $p{whole} || chance(0.7) ? $SPAN_MS : int_in(0, $SPAN_MS);
    my $shift = chance(0.4) ? 0 : int_in(0, $gap - 1);
    my $jitter = chance(0.7) ? 0 : int_in(1, $gap / 3);
    for (my $t = $shift; $t <= $SPAN_MS; $t += $gap) {
        $t += int_in(60_000, 500_000) if !$p{whole} && chance(0.01);
        next if $t < $from || $t > $upto;
        my $at = $t + ($jitter ? int_in(0, $jitter) : 0);
        push @t, $T0_MS + $at if !@t || $T0_MS + $at > $t[-1];
    }
    return @t ? @t : ($T0_MS + 1000);
}

# Stale markers before gaps and at the end, now and then.
sub staled {
    my @s = @_;
    for my $i (1 .. $#s) {
        my $gap = $i < $#s ? $s[$i + 1][0] - $s[$i][0] : 1e9;
        $s[$i][1] = $STALE if $gap > 60_000 ? chance(0.5) : chance(0.003);
    }
    return @s;
}

sub counter {
    my ($resets, $fraction) = @_;
    my $v = chance(0.5) ? 0 : int_in(0, 100000);
    my $speed = 10 ** int_in(-1, 4);
    return staled(map {
        $v = chance($resets) ? (chance(0.5) ? 0 : $v / 3) : $v;
        $v += rand() * $speed unless chance(0.1);
        $v = int($v) unless $fraction;
        [$_, bits($v)] } moments());
}

sub gauge {
    my $scale = 10 ** int_in(-3, 6);
    my $whole = chance(0.5);
    my $flat = chance(0.2);
    my $first = rand() * $scale;
    return staled(map {
        my $v = $flat ? $first : (rand() - 0.4) * $scale;
        [$_, bits($whole ? int($v) : $v)] } moments());
}

# All series: [labels, [t_ms, 8 bytes], ...].
sub data {
    my ($self) = @_;
    srand($self->{seed});
    my @s;
    for my $job ('api', 'db') {
        for my $inst (0 .. 2) {
            my %l = (job => $job, instance => "h$inst");
            for my $code (200, 404, 500) {
                push @s, [{ __name__ => 'req_total', %l, code => $code },
                    counter(0.02, $code == 500)] unless chance(0.1);
            }
            push @s, [{ __name__ => 'mem', %l }, gauge()];
            push @s, [{ __name__ => 'mem_free', %l }, gauge()]
                unless chance(0.2);
            push @s, [{ __name__ => 'up', %l }, map { [$_, bits(int_in(0, 1))] }
                moments(whole => 1, gap => 15_000)];
            push @s, [{ __name__ => 'target_info', %l, version => "v$inst",
                'os.name' => one('linux', 'bsd') },
                staled(map { [$_, bits(1)] } moments(gap => 30_000))];
            push @s, [{ __name__ => 'build_info', %l, rev => int_in(1, 3) },
                map { [$_, bits(1)] } moments(gap => 30_000)];
            push @s, [{ __name__ => 'odd', %l, k => "k$inst" },
                map { [$_, odd()] } moments(gap => 20_000)];
            my $faulty = chance(0.3);
            my @le = ('0.1', '0.5', one('1', '1.0', '1e0'), '2.5', '10');
            push @le, '+Inf' unless chance(0.1);
            push @le, one('', 'x', '0x1p-2') if chance(0.1);
            unshift @le, '-1', '0' if chance(0.2);
            my @t = moments(gap => 15_000);
            my @rate = map { int_in(0, 5) } @le;
            my @sum = (0) x @le;
            my %b;
            for my $t (@t) {
                my $cum = 0;
                for my $i (0 .. $#le) {
                    $sum[$i] += int(rand($rate[$i] + 1));
                    $cum += $sum[$i];
                    my $v = $faulty && chance(0.1) ? $cum * 0.9 : $cum;
                    push @{$b{$le[$i]}}, [$t, bits($v)];
                }
            }
            push @s, map { [{ __name__ => 'lat_bucket', %l, le => $_ },
                @{$b{$_}}] } @le;
            push @s, [{ __name__ => 'lat_sum', %l }, counter(0.01, 1)];
            push @s, [{ __name__ => 'lat_count', %l }, counter(0.01)];
        }
    }
    push @s, [{ __name__ => 'lonely' }, gauge()];
    push @s, [{ __name__ => 'sparse', n => $_ },
        map { [$_, bits(rand(10))] } moments(gap => int_in(200_000, 500_000))] for 0 .. 2;
    push @s, [{ __name__ => 'ties', n => $_, g => $_ % 2 },
        map { [$_, bits(int_in(1, 2))] } moments(whole => 1, gap => 60_000)] for 0 .. 5;
    push @s, [{ __name__ => "m\x{e9}t.ric", "l\x{e4}bel.x" => $_, job => 'api' },
        gauge()] for "a \"q\" \\ \n", "\x{65e5}\x{672c}", '<b>&';
    push @s, [{ __name__ => 'walk:rule', instance => "h$_", __type__ => 'gauge' },
        gauge()] for 0 .. 1;
    push @s, [{ __name__ => 'num', w => $_ }, map { [$_, bits((rand() - 0.5)
        * 10 ** int_in(-4, 4))] } moments(whole => 1, gap => 15_000)] for 0 .. 3;
    return @s;
}

# ---- expressions ----

sub node {
    my ($t, $f, @kids) = @_;
    return { t => $t, f => $f, k => \@kids };
}

sub text {
    my ($e) = @_;
    my @k = map { text($_) } @{$e->{k}};
    my $f = $e->{f};
    $f =~ s/%%/shift @k/ge;
    return $f;
}

sub size {
    my ($e) = @_;
    my $n = length $e->{f};
    $n += size($_) for @{$e->{k}};
    return $n;
}

sub below { my ($e) = @_; return map { ($_, below($_)) } @{$e->{k}} }

# Trees that are this one with something taken away, the smallest first.
sub smaller {
    my ($e) = @_;
    my @out;
    if ($e->{cut}) {    # damaged text: take words away
        my @w = split /(\s+|[(){}\[\],]|[^\w\s])/, $e->{f};
        @w = grep { length } @w;
        for my $i (0 .. $#w) {
            my $f = join '', @w[grep { $_ != $i } 0 .. $#w];
            push @out, { t => 'x', f => $f, k => [], cut => 1 } if length $f;
        }
        return @out;
    }
    @out = grep { $_->{t} =~ /[vs]/ } below($e) if $e->{t} =~ /[vsm]/;
    for my $i (0 .. $#{$e->{k}}) {
        my $kid = $e->{k}[$i];
        my @try = smaller($kid);
        @try = grep { $_->{t} eq $kid->{t} } @try if $kid->{t} ne 'x';
        push @try, node('s', '1') if $kid->{t} eq 's' && $kid->{f} ne '1';
        push @try, node('x', '') if $kid->{t} eq 'x' && $kid->{f} ne '';
        for my $k (@try) {
            my @k = @{$e->{k}};
            $k[$i] = $k;
            push @out, { %$e, k => \@k };
        }
    }
    return sort { size($a) <=> size($b) } @out;
}

# The i-th expression of this seed.
sub expr {
    my ($self, $i) = @_;
    srand($self->{seed} * 1_000_003 + $i);
    my $e = chance(0.06) ? scalar_expr($self, 3)
          : chance(0.04) ? $self->matrix(2) : $self->vector(int_in(1, 4));
    $e = damaged($e) if chance($self->{damage} // 0.1);
    return $e;
}

sub damaged {
    my ($e) = @_;
    my $f = text($e);
    for (1 .. int_in(1, 2)) {
        my @w = grep { length } split /(\s+|[(){}\[\],]|[^\w\s])/, $f;
        @w = ("") unless @w;
        my $at = int rand @w;
        my $new = one('', '', '(', ')', '{', '}', '[', ']', ',', ':', '@', '"',
            '+', '==', '=~', 'by', 'on', 'sum', 'bool', 'offset', '5m', '-1',
            'x', '"s"', 'foo(', '1e', '0x', 'group_left', '!', '$', '\\', "\x{e9}",
            'without', 'and', 'rate', 'NaN', '5x', "'", '#', '1m1h', '[5m]', '.');
        my $how = int_in(0, 2);
        if ($how == 0) { $w[$at] = $new }
        elsif ($how == 1) { splice @w, $at, 0, " $new " }
        else { @w[$at, $at - 1] = @w[$at - 1, $at] }
        $f = join '', @w;
    }
    $f =~ s/%%/%/g;
    return { t => 'x', f => $f, k => [], cut => 1 };
}

sub number {
    return one('0', '1', '2', '0.5', '-1', '3', '10', '100', '1e3', '1e-3',
        '0.1', '.5', '5.', '0x1F', '017', '1_000', 'Inf', '-Inf', '+Inf', 'NaN',
        'nan', 'inf', '1e308', '5e-324', '5m', '1h30m', '100ms', '-0', '0.9', '-1.5',
        '1E+2', '123456789.125', '7', '0xdead', '60') if chance(0.85);
    return sprintf('%.*g', int_in(1, 17), (rand() - 0.3) * 10 ** int_in(-6, 9));
}

sub scalar_expr {
    my ($self, $d) = @_;
    return node('s', number()) if $d <= 0 || chance(0.5);
    my $k = sub { scalar_expr($self, $d - 1) };
    return weighted(
        2 => sub { node('s', 'time()') },
        1 => sub { node('s', 'pi()') },
        3 => sub { node('s', 'scalar(%%)', $self->vector($d - 1)) },
        1 => sub { node('s', one('-', '+') . '%%', $k->()) },
        2 => sub { node('s', '(%%)', $k->()) },
        3 => sub { node('s', '%% ' . one(qw(+ - * / % ^ atan2)) . ' %%',
            $k->(), $k->()) },
        1 => sub { node('s', '%% ' . one(qw(== != > < >= <=)) . ' bool %%',
            $k->(), $k->()) },
        ($self->{has}{max_of} ? (1 => sub { node('s', one('min_of', 'max_of')
            . '(%%, %%)', $k->(), $k->()) }) : ()),
        ($self->{has}{step} ? (1 => sub { node('s', one(qw(step() range()
            start() end()))) }) : ()),
    )->();
}

my %LABELS = (req_total => [qw(job instance code)], mem => [qw(job instance)],
    mem_free => [qw(job instance)], up => [qw(job instance)],
    target_info => [qw(job instance version os.name)],
    build_info => [qw(job instance rev)], odd => [qw(job instance k)],
    lat_bucket => [qw(job instance le)], lat_sum => [qw(job instance)],
    lat_count => [qw(job instance)], lonely => [], sparse => ['n'],
    ties => [qw(n g)], 'walk:rule' => ['instance'], num => ['w'],
    "m\x{e9}t.ric" => ["l\x{e4}bel.x", 'job'], nothing => ['a']);

sub label_name {
    my ($l) = @_;
    return $l =~ /^[a-z_]\w*$/ ? (chance(0.05) ? "\"$l\"" : $l) : "\"$l\"";
}

sub matcher {
    my ($metric) = @_;
    my $l = chance(0.1) ? one('job', 'absent_label', 'le') : one(@{$LABELS{$metric}});
    return unless defined $l;
    my $q = one('"', '"', "'");
    my $v = $l eq 'job' ? one('api', 'db', 'a.*', '.*', '', 'api|db', 'x')
        : $l eq 'instance' ? one('h0', 'h1', 'h2', 'h[01]', 'h0|h2', '.+', '')
        : $l eq 'code' ? one('200', '404', '5..', '[45]..', '')
        : $l eq 'le' ? one('+Inf', '0.5', '0.*|1', '.+')
        : one('k0', 'v1', 'v.', '1', '', '.*', 'linux', '[0-2]', "\\u65e5.*");
    my $op = $v =~ /[.|\[]/ ? one('=~', '!~') : one('=', '=', '!=', '=~', '!~');
    $v =~ s/\+/\\\\+/ if $op =~ /~/ && $v eq '+Inf';
    return label_name($l) . "$op$q$v$q";
}

sub selector {
    my ($self, @names) = @_;
    my $m = @names ? one(@names) : one(qw(req_total req_total mem mem mem
        mem_free up up target_info build_info odd odd lat_bucket lat_sum
        lat_count lonely sparse ties walk:rule num num), "m\x{e9}t.ric",
        chance(0.2) ? 'nothing' : 'num');
    my @by = grep { defined } map { matcher($m) } 1 .. weighted(9 => 0, 4 => 1,
        1 => 2);
    my $quoted = $m =~ /^[a-z_:]+$/ ? chance(0.05) : 1;
    my $sel = $quoted ? "{\"$m\"" . join('', map { ", $_" } @by) . '}'
        : @by || chance(0.1) ? "$m\{" . join(one(',', ', '), @by)
            . (chance(0.05) && @by ? ',' : '') . '}' : $m;
    $sel = '{__name__=~"' . one('mem.*', 'lat_(sum|count)', 'mem|up', 'lat_.*',
        '(req_total|odd)') . '"' . join('', map { ", $_" } @by) . '}'
        if !@names && chance(0.07);
    return $sel;
}

sub duration {
    return one('15s', '30s', '1m', '1m', '2m', '5m', '5m', '10m', '1m30s', '90',
        '45s500ms', '7m', '20m', '1h', '5m', '2m', '10m', '3m', '1', '100ms',
        '61s', '300.5');
}

sub at {
    return '@ ' . one('start()', 'end()', '0') if chance(0.4);
    return sprintf('@ %.3f', ($T0_MS + int_in(-100_000, $SPAN_MS + 100_000)) / 1000)
        if chance(0.7);
    return '@ ' . int(($T0_MS + int_in(0, $SPAN_MS)) / 15000) * 15;
}

# offset and @, perhaps.
sub shift_text {
    my ($self) = @_;
    my $off = 'offset ' . one('', '', '-') . duration();
    $off = 'offset ' . $self->duration_expr() if $self->{has}{duration_expr}
        && chance(0.2);
    return weighted(12 => '', 2 => " $off", 1 => ' ' . at(),
        0.5 => " $off " . at(), 0.5 => ' ' . at() . " $off");
}

sub duration_expr {
    my ($self) = @_;
    my $d = sub { one('1m', '30', '2m', '(1m + 30s)', '5m', '15s') };
    return one(sub { '(' . $d->() . one(' + ', ' - ', ' * ', ' / ', ' % ')
            . one('1m', '2', '30s', '3', '0.5') . ')' },
        sub { '(' . $d->() . ' * 2 + ' . $d->() . ')' },
        sub { '(' . $d->() . ' / ' . one('2', '0', '3', '7', '9', '13') . ')' },
        sub { $self->{has}{step} ? one('(step() * 4)', '(range() / 2)',
            'max_of(step(), 1m)') : '(2 ^ 5)' })->();
}

sub range_text {
    my ($self) = @_;
    return $self->duration_expr()
        if $self->{has}{duration_expr} && chance(0.1);
    return duration();
}

sub matrix {
    my ($self, $d, @names) = @_;
    if ($d <= 0 || chance(0.75) || @names) {
        my $edge = $self->{edges} || '';
        return node('m', '%%[%%]%%%%', node('x', $self->selector(@names)),
            node('x', $self->range_text()), node('x', $edge),
            node('x', $self->shift_text()));
    }
    return node('m', '%%[%%:%%]%%', node('v', '(%%)', $self->vector($d - 1)),
        node('x', $self->range_text()),
        node('x', one('', '15s', '1m', '30s', '7s', '2m', '500ms')),
        node('x', $self->shift_text()));
}

sub plain { my ($self) = @_; return node('v', '%%%%', node('x', $self->selector()),
    node('x', $self->shift_text())) }

my @MAPS = qw(abs acos acosh asin asinh atan atanh ceil cos cosh deg exp floor
    ln log10 log2 rad sgn sin sinh sqrt tan tanh timestamp);
my @CALENDAR = qw(day_of_month day_of_week day_of_year days_in_month hour
    minute month year);
my @OVER = qw(avg_over_time count_over_time last_over_time max_over_time
    min_over_time present_over_time stddev_over_time stdvar_over_time
    sum_over_time changes resets deriv delta idelta rate irate increase
    absent_over_time first_over_time mad_over_time ts_of_first_over_time
    ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time);

sub grouping {
    my $l = sub { label_name(one(qw(job instance code le k n), 'os.name',
        '__name__', 'absent_label', 'g', 'version')) };
    return '' if chance(0.25);
    return one('by', 'by', 'without') . one('', ' ') . '('
        . join(', ', map { $l->() } 1 .. int_in(0, 2)) . ')';
}

sub aggregation {
    my ($self, $d) = @_;
    my $g = grouping();
    my ($op, @args) = @{weighted(
        10 => [one(qw(sum sum avg min max group count stddev stdvar))],
        2 => [one(qw(topk bottomk)), node('s', one(0, 1, 2, 3, '2.7', 5, 100, '-1'))],
        1 => [one(qw(topk bottomk limitk)), scalar_expr($self, 1)],
        2 => ['quantile', chance(0.8) ? node('s', one(0, 0.1, 0.5, 0.9, 1, 1.5, -1, 'NaN'))
            : scalar_expr($self, 2)],
        1 => ['count_values', node('x', one('"value"', "'le'", '"job"', '"x.y"', '""'))],
        1 => ['limitk', node('s', one(0, 1, 2, 3))],
        1 => ['limit_ratio', node('s', one(0, 0.1, 0.5, -0.5, 0.9, 1, -1, 1.2, '-1.3'))])};
    my $operand = $self->vector($d - 1);
    my @forms = ("$op $g (%%)", "$op(%%) $g");
    my $f = one(@forms);
    $f =~ s/%%/%%, %%/ if @args;
    return node('v', $f, @args, $operand);
}

sub matching {
    my ($self, $set) = @_;
    my $l = sub { join(', ', map { label_name($_) } @_) };
    my $on = weighted(3 => '', 2 => 'on(' . $l->(one(['job', 'instance'],
            ['instance'], ['job'], [], ['job', 'instance', 'code'])->@*) . ')',
        1 => 'ignoring(' . $l->(one(['code'], ['version', 'os.name'],
            ['rev'], ['k'], ['code', 'le', 'k'])->@*) . ')');
    return $on if $set || $on eq '';
    my $group = weighted(3 => '', 2 => one('group_left', 'group_right')
        . one('', '()', '(version)', '(rev, "os.name")', '(job)', '(absent_label)'));
    my $fill = $self->{has}{fill} && chance(0.2) ? ' '
        . one('fill(0)', 'fill_left(-1)', 'fill_right(NaN)',
            'fill_left(1) fill_right(2)') : '';
    return "$on $group$fill";
}

# Pairs of metrics that are likely to match.
sub pair {
    my ($self) = @_;
    my @p = one(['mem', 'mem_free'], ['mem', 'up'], ['lat_sum', 'lat_count'],
        ['up', 'mem'], ['req_total', 'up'], ['req_total', 'target_info'],
        ['up', 'build_info'], ['mem', 'target_info'], ['odd', 'odd'],
        ['num', 'num'], ['req_total', 'req_total'], ['ties', 'ties'])->@*;
    return map { node('v', '%%%%', node('x', $_), node('x', $self->shift_text())) } @p;
}

sub binary {
    my ($self, $d) = @_;
    my $kind = weighted(4 => 'vs', 2 => 'sv', 6 => 'vv', 3 => 'set');
    my $op = one(qw(+ - * / % ^ atan2 == != > < >= <=));
    my $bool = $op =~ /[=<>]/ && chance(0.4) ? ' bool' : '';
    return node('v', "%% $op$bool %%", $self->vector($d - 1), scalar_expr($self, 1))
        if $kind eq 'vs';
    return node('v', "%% $op$bool %%", scalar_expr($self, 1), $self->vector($d - 1))
        if $kind eq 'sv';
    my @sides = chance(0.6) ? $self->pair()
        : ($self->vector($d - 1), $self->vector($d - 1));
    if ($kind eq 'set') {
        return node('v', '%% ' . one(qw(and or unless AND Or)) . ' %% %%',
            $sides[0], node('x', $self->matching(1)), $sides[1]);
    }
    return node('v', "%% $op$bool %% %%", $sides[0],
        node('x', $self->matching(0)), $sides[1]);
}

sub over_time {
    my ($self, $d) = @_;
    my $kind = weighted(10 => 'plain', 1 => 'quantile', 1 => 'predict', 1 => 'des');
    return node('v', 'quantile_over_time(%%, %%)', scalar_expr($self, 1), $self->matrix($d))
        if $kind eq 'quantile';
    return node('v', 'predict_linear(%%, %%)', $self->matrix($d), scalar_expr($self, 1))
        if $kind eq 'predict';
    if ($kind eq 'des' && $self->{has}{double_exponential_smoothing}) {
        return node('v', 'double_exponential_smoothing(%%, %%, %%)', $self->matrix($d),
            map { node('s', one('0.1', '0.5', '0.9', '1', '0')) } 1, 2);
    }
    my $f = one(grep { $self->{has}{$_} } @OVER);
    local $self->{edges} = $f =~ /^(?:rate|increase|delta)$/ && $self->{has}{anchored}
        && chance(0.2) ? one(' anchored', ' smoothed') : '';
    return node('v', "$f(%%)", $f =~ /^(?:rate|increase|irate|resets)$/ && chance(0.6)
        ? $self->matrix($d, 'req_total', 'lat_count', 'lat_bucket', 'req_total')
        : $self->matrix($d));
}

sub label_fn {
    my ($self, $d) = @_;
    my $v = $self->vector($d - 1);
    my $dst = one('"new"', '"job"', '"instance"', '"x.y"', '"__name__"', '""', '"le"');
    return node('v', "label_join(%%, $dst, " . one('"-"', '""', "'/'")
        . join('', map { ', ' . one('"job"', '"instance"', '"code"', '"nope"', '"__name__"') }
            1 .. int_in(0, 2)) . ')', $v) if chance(0.4);
    return node('v', "label_replace(%%, $dst, " . one('"$1"', '"x$1y"', '""', '"${1}"',
            '"$2-$1"', '"$nope"', '"$$"', '"const"', '"${name}"') . ', '
        . one('"job"', '"instance"', '"nope"', '"__name__"', '"code"') . ', '
        . one('"(.*)"', '"h(.)"', '"(.)(.*)"', '"a.*"', '""', '"(?P<name>.+)"', '"("',
            '"(?i:API)"', '"([a-z]+)[0-9]?"') . ')', $v);
}

sub vector {
    my ($self, $d) = @_;
    return $self->plain() if $d <= 0;
    my $k = sub { $self->vector($d - 1) };
    return weighted(
        4 => sub { $self->plain() },
        8 => sub { $self->over_time($d - 1) },
        7 => sub { $self->aggregation($d) },
        7 => sub { $self->binary($d) },
        3 => sub { node('v', one(@MAPS) . '(%%)', $k->()) },
        1 => sub { my $s = $k->(); node('v', one(@CALENDAR) . '(%%)', $s) },
        0.3 => sub { node('v', one(@CALENDAR) . '()') },
        2 => sub { my $f = one('clamp(%%, %%, %%)', 'clamp_min(%%, %%)',
            'clamp_max(%%, %%)', 'round(%%)', 'round(%%, %%)');
            node('v', $f, $k->(), map { scalar_expr($self, 1) } 2 .. (() = $f =~ /%%/g)) },
        1 => sub { node('v', 'vector(%%)', scalar_expr($self, 2)) },
        1 => sub { node('v', one('-', '+', '-') . '%%', $k->()) },
        1 => sub { node('v', '(%%)', $k->()) },
        2 => sub { $self->label_fn($d) },
        1 => sub { node('v', one('sort', 'sort_desc') . '(%%)', $k->()) },
        0.5 => sub { $self->{has}{sort_by_label} ? node('v', one('sort_by_label',
            'sort_by_label_desc') . '(%%, "' . one(qw(instance job code)) . '")', $k->())
            : $k->() },
        1 => sub { node('v', 'absent(%%)', chance(0.5) ? $k->()
            : node('v', one('nothing', 'nothing{a="b",c=~"d"}', 'nothing{a="b",a="c"}'))) },
        3 => sub { $self->histogram($d) },
        1 => sub { $self->{has}{info} ? $self->info($d) : $k->() },
        ($self->{has}{histogram_avg} ? (0.2 => sub { node('v', 'histogram_'
            . one(qw(avg count sum stddev stdvar)) . '(%%)', $k->()) }) : ()),
    )->();
}

sub histogram {
    my ($self, $d) = @_;
    my $q = chance(0.8) ? node('s', one(0, 0.1, 0.5, 0.9, 0.99, 1, -1, 2, 'NaN'))
        : scalar_expr($self, 1);
    my $b = one(sub { node('v', '%%', node('x', $self->selector('lat_bucket'))) },
        sub { node('v', one('rate', 'increase') . '(%%)', $self->matrix(0, 'lat_bucket')) },
        sub { node('v', 'sum ' . one('by (le)', 'by (le, job)', 'without (instance)')
            . ' (%%)', node('v', 'rate(%%)', $self->matrix(0, 'lat_bucket'))) },
        sub { $self->vector($d - 1) })->();
    my @bounds = $self->{has}{step} ? (0, 0.1, 0.3, 1, 5, '-Inf', '+Inf', '-1')
        : (1, 5, 2.5, '-Inf', '+Inf', 0.5);
    return node('v', 'histogram_fraction(%%, %%, %%)', map({ node('s',
        one(@bounds)) } 1, 2), $b) if chance(0.3);
    return node('v', 'histogram_quantiles(%%, "q", %%, %%)', $b, $q, node('s', '0.5'))
        if $self->{has}{histogram_quantiles} && chance(0.2);
    return node('v', 'histogram_quantile(%%, %%)', $q, $b);
}

sub info {
    my ($self, $d) = @_;
    my $v = chance(0.7) ? node('v', one('mem', 'req_total', 'up', 'rate(req_total[5m])'))
        : $self->vector($d - 1);
    return node('v', 'info(%%%%)', $v, node('x', one('', '', ', {version=~".+"}',
        ', {"os.name"="linux"}', ', {__name__="build_info"}', ', {nope="x"}',
        ', {__name__=~".*_info"}', ', {__name__=~".*_info",version!=""}')));
}

1;
