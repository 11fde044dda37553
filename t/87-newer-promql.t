#!/usr/bin/perl
# What is newer than the Prometheus there is to compare with, against slow
# models made of raw samples and of simpler queries: anchored and smoothed
# ranges, fill modifiers, functions of the query's own times, first_over_time
# and kin, several quantiles at once.  NLT_TEST_SEED=7, NLT_DIFF_N=400.
use strict;
use warnings;
no warnings "portable";    # 64-bit literals
use Test::More;
use Nightlight::Test;
use Nightlight::Expr;
use Nightlight::Models;

my $t = Nightlight::Test->new();
$t->write_conf(main => 'worker_processes 1;', server => '',
    locations => <<'EOF');
        location = /api/v1/write  { nightlight_write main; }
        location /api/v1/         { nightlight_query main;
            nightlight_promql_features experimental-functions duration-expr
                extended-range-selectors binop-fill-modifiers; }
        location /-/              { nightlight_status main; }
EOF
$t->run();
my $seed = $ENV{NLT_TEST_SEED} || 1;
my $n = $ENV{NLT_DIFF_N} || 300;
note("NLT_TEST_SEED=$seed NLT_DIFF_N=$n");
my $pb = '';
for my $s (Nightlight::Expr->new(seed => $seed, has => {})->data()) {
    my ($labels, @samples) = @$s;
    $pb .= Nightlight::Test::series_pb($labels, map { [$_->[0], \$_->[1]] } @samples);
}
is($t->write_raw(Nightlight::Test::snappy($pb))->{status}, 204, 'data');
srand($seed);

my $errors = '';
my $m = Nightlight::Models->new(ask => sub {
    my ($query, $at) = @_;
    my $r = $t->api_post('query', query => $query, time => sprintf '%.3f', $at);
    $errors = $r->{raw};
    return $r->{data};
});

sub one { return $_[rand @_] }
sub is_nan { return $_[0] != $_[0] }
sub near { my ($x, $y) = @_; return 1 if $x == $y || is_nan($x) && is_nan($y);
    return abs($x - $y) <= 1e-9 * (abs($x) + abs($y)) + 1e-300 }

my ($checked, @wrong) = (0);

# Compares an answer with the values of a model, by labels.
sub compare {
    my ($query, $at, $want) = @_;
    my $have = $m->vector($query, $at);
    if (!$have) { push @wrong, "$query at $at: $errors"; return }
    for my $k (sort keys %{{ %$have, %$want }}) {
        my ($x, $y) = map { $_->{$k} ? $_->{$k}[1] : undef } $have, $want;
        $checked++;
        next if defined $x && defined $y && near($x, $y);
        push @wrong, "$query at $at: " . ($x // 'nothing') . ', not '
            . ($y // 'nothing') . ' of ' . join ' ', %{($have->{$k} || $want->{$k})->[0]};
    }
}

sub nameless { my %l = %{$_[0]}; delete $l{__name__}; return \%l }

# { key => [labels, value] } by a function of the samples of each series.
sub by_series {
    my ($raw, $keeps, $f) = @_;
    my %out;
    for my $s (values %$raw) {
        my ($l, @p) = @$s;
        my $v = $f->(@p);
        $l = nameless($l) unless $keeps;
        $out{Nightlight::Models::key($l)} = [$l, $v] if defined $v;
    }
    return \%out;
}

my @SELECT = ('req_total{code="200"}', 'req_total', 'lat_count', 'mem', 'odd', 'num', 'sparse', 'ties');
sub moment { return sprintf '%.3f', ($Nightlight::Expr::T0_MS
    + int rand $Nightlight::Expr::SPAN_MS * 1.1) / 1000 }

# ---- first_over_time and kin ----

my %SIMPLE = (
    first_over_time => [1, sub { $_[0][1] }],
    last_over_time => [1, sub { $_[-1][1] }],
    ts_of_first_over_time => [0, sub { $_[0][0] }],
    ts_of_last_over_time => [0, sub { $_[-1][0] }],
    # the last of those that are equal; NaN only if there is nothing else
    ts_of_max_over_time => [0, sub { my $b = $_[0];
        for (@_) { $b = $_ if $_->[1] >= $b->[1] || is_nan($b->[1]) } $b->[0] }],
    ts_of_min_over_time => [0, sub { my $b = $_[0];
        for (@_) { $b = $_ if $_->[1] <= $b->[1] || is_nan($b->[1]) } $b->[0] }],
);
for my $i (1 .. $n / 3) {
    my ($sel, $r, $at) = (one(@SELECT), one('20s', '1m', '5m', '17m'), moment());
    my $f = one(sort keys %SIMPLE);
    compare("$f($sel\[$r])", $at, by_series($m->matrix("$sel\[$r]", $at) || {},
        @{$SIMPLE{$f}}));
}
is(join("\n", splice @wrong), '', "first, last and times of samples: $checked values");

# ---- anchored and smoothed ----

# The samples of a window brought to its edges; times in milliseconds.
sub extended {
    my ($kind, $counter, $from, $to, @p) = @_;
    my @before = grep { $_->[0] <= $from } @p;
    my @inside = grep { $_->[0] > $from && $_->[0] <= $to } @p;
    my @after = grep { $_->[0] > $to } @p;
    @before = grep { $_->[0] > $from - 300_000 } @before;
    @after = grep { $_->[0] <= $to + 300_000 } @after;
    return if $kind eq 'anchored' && !@inside;
    my $line = sub {
        my ($p, $q, $at) = @_;
        my $low = $counter && $q->[1] < $p->[1] ? 0 : $p->[1];
        return $low + ($q->[1] - $low) * ($at - $p->[0]) / ($q->[0] - $p->[0]);
    };
    my ($left, $right);
    if ($kind eq 'anchored') {
        $left = @before ? $before[-1][1] : $inside[0][1];
        $right = $inside[-1][1];
    } else {
        my @next = (@inside, @after);
        return if !@next;
        return if !@inside && !@before;
        $left = !@before ? $next[0][1] : $before[-1][0] == $from ? $before[-1][1]
            : $line->($before[-1], $next[0], $from);
        my $last = (@before, @inside)[-1];
        $right = $last->[0] == $to || !@after ? $last->[1]
            : $line->($last, $after[0], $to);
    }
    return ([$from, $left], (grep { $_->[0] < $to } @inside), [$to, $right]);
}

$checked = 0;
for my $i (1 .. $n) {
    my $kind = one('anchored', 'smoothed');
    my $f = one('increase', 'rate', 'delta', $kind eq 'anchored' ? ('changes', 'resets') : ());
    my $sel = one(grep { $_ ne 'odd' } @SELECT);
    my ($r, $at) = (one(20, 60, 61, 300, 1000), moment());
    my $off = one(0, 0, 45, -100);
    my $shift = $off ? " offset ${off}s" : '';
    # one lookback more on both sides
    my $raw = $m->matrix(sprintf('%s[%ds] offset %ds', $sel, $r + 600, $off - 300), $at) || {};
    my ($from, $to) = ($at - $off - $r, $at - $off);
    $_ = sprintf '%.0f', $_ * 1000 for $from, $to;
    my $want = by_series($raw, 0, sub {
        my $counter = $f =~ /increase|rate/;
        my @p = map { [sprintf('%.0f', $_->[0] * 1000), $_->[1]] } @_;
        my @e = extended($kind, $counter, $from, $to, @p) or return;
        my @v = map { $_->[1] } @e;
        my $steps = sub { my $n = 0; for my $k (1 .. $#v) { $n++ if $_[0]->($v[$k - 1], $v[$k]) } $n };
        return $steps->(sub { $_[0] != $_[1] }) if $f eq 'changes';
        return $steps->(sub { $_[1] < $_[0] }) if $f eq 'resets';
        my $change = $v[-1] - $v[0];
        if ($counter) {
            for my $k (1 .. $#v) { $change += $v[$k - 1] if $v[$k] < $v[$k - 1] }
        }
        return $f eq 'rate' ? $change / $r : $change;
    });
    compare("$f($sel\[${r}s] $kind$shift)", $at, $want);
}
is(join("\n", splice(@wrong)), '', "anchored and smoothed: $checked values");

# ---- fill ----

$checked = 0;
for my $i (1 .. $n / 3) {
    my ($l, $r) = @{one(['mem', 'mem_free'], ['up', 'mem'], ['mem', 'up'], ['lat_sum', 'lat_count'])};
    my $at = moment();
    my ($fill, $x, $y) = @{one(['fill(2)', 2, 2], ['fill_left(-1)', -1, undef],
        ['fill_right(3)', undef, 3], ['fill_left(1) fill_right(7)', 1, 7])};
    my ($p, $q) = map { $m->vector("label_replace($_, \"__name__\", \"\", \"\", \"\")", $at) || {} } $l, $r;
    my $op = one('+', '-', '*');
    my %want;
    for my $k (sort keys %{{ %$p, %$q }}) {
        my ($u, $v) = ($p->{$k} ? $p->{$k}[1] : $x, $q->{$k} ? $q->{$k}[1] : $y);
        next if !defined $u || !defined $v;
        my $value = $op eq '+' ? $u + $v : $op eq '-' ? $u - $v : $u * $v;
        $want{$k} = [($p->{$k} || $q->{$k})->[0], $value];
    }
    compare("$l $op ignoring(k) $fill $r", $at, \%want);
}
is(join("\n", splice @wrong), '', "fill: $checked values");

# ---- several quantiles, extremes of scalars ----

$checked = 0;
for my $i (1 .. $n / 10) {
    my ($at, @q) = (moment(), one(0, 0.1, 0.5), one(0.9, 0.99, 1));
    my %want;
    for my $q (@q) {
        my $v = $m->vector("histogram_quantile($q, rate(lat_bucket[5m]))", $at) || {};
        for my $s (values %$v) {
            # as OpenMetrics writes numbers
            my $l = { %{$s->[0]}, 'the q' => $q =~ /\./ ? "$q" : "$q.0" };
            $want{Nightlight::Models::key($l)} = [$l, $s->[1]];
        }
    }
    compare("histogram_quantiles(rate(lat_bucket[5m]), \"the q\", $q[0], $q[1])", $at, \%want);
    my ($u, $v) = map { sprintf '%.3f', rand() * 10 - 5 } 1, 2;
    for my $c (["max_of($u, $v)", $u > $v ? $u : $v], ["min_of($u, $v)", $u < $v ? $u : $v]) {
        my $have = $m->scalar_of($c->[0], $at);
        $checked++;
        push @wrong, "$c->[0]: $have" if $have != $c->[1];
    }
}
is(join("\n", splice @wrong), '', "quantiles and extremes: $checked values");

# ---- the query's own times ----

$checked = 0;
for my $i (1 .. 20) {
    my $start = moment();
    my $step = one(1, 7.5, 60);
    my $end = sprintf '%.3f', $start + $step * int(rand 20) + rand;
    for my $c (['start()', $start], ['end()', $end], ['step()', $step],
        ['range()', $end - $start], ['time() - start()', undef],
        ["count_over_time(up{job=\"api\",instance=\"h0\"}[max_of(step(), 1m)]) - "
            . 'count_over_time(up{job="api",instance="h0"}[1m])', 0])
    {
        my $r = $t->api_post('query_range', query => $c->[0], start => $start,
            end => $end, step => $step);
        for my $s (@{$r->{data}{result}}) {
            for my $p (@{$s->{values}}) {
                my $want = $c->[1] // $p->[0] - $start;
                $checked++;
                push @wrong, "$c->[0] $start $end $step: $p->[1], not $want"
                    if abs($p->[1] - $want) > 1e-5;
            }
        }
    }
}
is(join("\n", splice @wrong), '', "start(), end(), step(), range(): $checked values");
$t->done();
