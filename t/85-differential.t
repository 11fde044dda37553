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
#   TEST_PROMETHEUS=...      the Prometheus to compare with, 3.0 at least
#
# What may differ, and why: explained() and unsettled().
use strict;
use warnings;
no warnings "portable";    # 64-bit literals
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Expr;

binmode $_, ':utf8' for Test::More->builder->output,
    Test::More->builder->failure_output, Test::More->builder->todo_output;

my $t = Nightlight::Test->new();
my $prometheus = $ENV{TEST_PROMETHEUS} || $t->program('prometheus');
plan(skip_all => 'no prometheus') unless $prometheus;
my ($version) = `$prometheus --version 2>&1` =~ /version (\d+\.\d+)/;
plan(skip_all => "prometheus $version is older than 3")
    if !$version || $version < 3;

my $seed = $ENV{NLT_TEST_SEED} || 1;
my $n = $ENV{NLT_DIFF_N} || 1500;
note("NLT_TEST_SEED=$seed, $n expressions, prometheus $version");

my $features = 'nightlight_promql_features experimental-functions duration-expr';
$t->write_conf(main => 'worker_processes 1;', server => "$features;",
    locations => <<"EOF");
        location = /api/v1/write  { nightlight_write main; }
        location /api/v1/         { nightlight_query main; }
        location /delayed/api/v1/ { nightlight_query main;
                                    $features delayed-name-removal; }
        location /-/              { nightlight_status main; }
EOF
$t->run();

# The two Prometheis, and where Nightlight answers like them.
my %prefix = (prom => '', delayed => '/delayed');
$t->write_file('prometheus.yml', "global: {scrape_interval: 1m}\n");
for my $mode (sort keys %prefix) {
    $t->spawn($prometheus, '--config.file=' . $t->dir . '/prometheus.yml',
        '--storage.tsdb.path=' . $t->dir . "/$mode",
        '--web.listen-address=127.0.0.1:' . $t->port($mode),
        '--storage.tsdb.retention.time=100y',
        '--web.enable-remote-write-receiver', '--log.level=error',
        '--enable-feature=promql-experimental-functions,promql-duration-expr'
            . ($mode eq 'delayed' ? ',promql-delayed-name-removal' : ''));
}
for my $mode (sort keys %prefix) {
    $t->wait_for(sub { my $r = eval { $t->http('GET', '/-/ready', port => $mode) };
        $r && $r->{status} == 200 }, 'prometheus ready', 60)
        or BAIL_OUT($t->read_file('logs/prometheus.log'));
}

# ---- asking: connections that are kept ----

my %conn;

sub ask {
    my ($port, $path, %p) = @_;
    my $body = Nightlight::Test::form(%p);
    for my $try (1 .. 2) {
        my $s = $conn{$port} ||= $t->connect($port);
        my $r = Nightlight::Test::exchange($s, Nightlight::Test::request_bytes(
            'POST', $path, { Connection => 'keep-alive', 'Content-Type' =>
            'application/x-www-form-urlencoded' }, $body));
        return $r if $r->{status};
        delete $conn{$port};
    }
    return { status => 0, body => '' };
}

my $mode;    # of the expression at work

sub ask_prometheus {
    my ($path, %p) = @_;
    my $r = ask($mode, "/api/v1/$path", %p);
    $r->{body} = normal($r->{body});
    return $r;
}

sub ask_nightlight {
    my ($path, %p) = @_;
    my $r = ask('http', "$prefix{$mode}/api/v1/$path", %p);
    $r->{body} = normal($r->{body});
    return $r;
}

# Which parts of the language this Prometheus has.
my %has;
my @probes = (map({ [$_, "$_(m[1m])"] } qw(first_over_time mad_over_time
        ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time
        ts_of_min_over_time rate)),
    ['double_exponential_smoothing', 'double_exponential_smoothing(m[1m], .1, .1)'],
    ['sort_by_label', 'sort_by_label(m, "a")'], ['info', 'info(m)'],
    ['histogram_quantiles', 'histogram_quantiles(m, "q", .1)'],
    ['step', 'step()'], ['max_of', 'max_of(1, 2)'], ['duration_expr', 'm[1m * 2]'],
    ['anchored', 'rate(m[1m] anchored)'], ['fill', 'm + on(a) fill(0) m']);
for my $p (@probes) {
    $has{$p->[0]} =
        ask('prom', '/api/v1/query', query => $p->[1])->{status} == 200;
}
$has{$_} = $has{rate} for qw(avg_over_time count_over_time last_over_time
    max_over_time min_over_time present_over_time stddev_over_time
    stdvar_over_time sum_over_time changes resets deriv delta idelta irate
    increase absent_over_time histogram_avg);
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
    is($t->write_raw($body)->{status}, 204, "$n_series series, $n_samples samples");
    is($t->write_raw($body, port => $_)->{status}, 204, "and into $_")
        for sort keys %prefix;
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
    my $x = ask_nightlight($path, query => $query, @when);
    my $y = ask_prometheus($path, query => $query, @when);
    return (difference($x, $y, $query), $x, $y);
}

# ---- what may differ ----

# Is the difference one that is known and has its reason?
sub explained {
    my ($query, $path, $x, $y) = @_;
    # 3.5 mixes up series in info() where they have gaps, and its second
    # argument has got other rules since
    return 'info' if $version <= 3.5 && $query =~ /\binfo\s*\(/
        && ($path eq 'query_range' || $query =~ /\binfo\s*\(.*[:,@]/s
            || $query =~ /offset/);
    # and it forgets which names are to be removed later
    return 'info' if $mode eq 'delayed' && $query =~ /\binfo\s*\(/;
    # NaN counts since
    return 'mad' if $version <= 3.5 && $query =~ /mad_over_time/;
    # 3.5 cannot interpolate in the lowest bucket
    return 'fraction' if $version <= 3.5 && $query =~ /histogram_fraction/;
    # 3.5 does not look at k when there is nothing to choose from
    return 'k' if $version <= 3.5 && $y->{status} == 200 && $x->{body} =~
        /"error":"(?:Parameter value is NaN|Scalar value \S+ (?:over|under)flows)/;
    # series that take turns are one since
    return 'turns' if $version <= 3.5 && $x->{status} == 200
        && $y->{body} =~ /cannot contain metrics with the same labelset/
        && $path eq 'query_range';
    # the lexer of brackets is another one
    return 'brackets' if $version <= 3.5 && $x->{body} =~ /, expected ':'"/;
    return 'brackets' if $version <= 3.5
        && $y->{body} =~ /character in duration expression: ','/;
    # its timestamp() forgets an offset beside @
    return 'timestamp' if $version <= 3.5 && $query =~ /timestamp/
        && $query =~ /\@/ && $query =~ /offset/;
    # an offset of NaN seconds has got an error since
    return 'nan' if $version <= 3.5 && $query =~ /nan/i && $y->{status} == 200
        && $x->{body} =~ /duration (?:is )?out of range|duration is NaN/;
    # an aggregation of what is pinned is evaluated once, whatever its
    # parameter does
    return 'param' if $version <= 3.5 && $path eq 'query_range'
        && $query =~ /\@|vector\s*\(/ && $query =~ /quantile|topk|bottomk|limit/;
    # these are functions since
    return 'functions' if $version <= 3.5 && $y->{status} == 400
        && $query =~ /\b(?:start|end|step|range)\s*\(/;
    # a pinned subquery is evaluated for more times than are looked at there,
    # and may fail at one of them
    return 'pinned' if $path eq 'query_range' && $x->{status} == 200
        && $y->{status} == 422 && $query =~ /\[[^\]]*:[^\]]*\]\s*(?:offset\s+\S+\s+)?\@/;
    # a word that may be a label since
    return 'without' if $version <= 3.5
        && $y->{body} =~ /without\\u003e in grouping opts, expected label/;
    # it trips over its own feet
    return 'trips' if $version <= 3.5 && $y->{body} =~ /unexpected error|"unexpected result in/;
    # 3.5 takes the wrong place for the end of a call behind on()
    return 'place' if $x->{body} =~ /(parse error: (?:bool modifier|label) .*)/s
        && index($y->{body}, $1) >= 0 && $query =~ /(?:on|ignoring)\s*\(/;
    return;
}

# Does Prometheus give different answers itself?  The order of series inside
# of a range query is that of a Go map there; sums, ties of topk and the
# choice of limitk depend on it.
sub unsettled {
    my ($query, $x, $y, @how) = @_;
    my $other = 0;
    for my $try (1 .. 300) {
        last if $try > 20 && !$other;
        my $z = ask_prometheus($how[0], query => $query, @how[1 .. $#how]);
        $other++ if $z->{body} ne $y->{body};
        return 1 if difference($x, $z, $query) eq '';
    }
    return 0 if !$other;
    # sums of another order: the first half of the digits are the same
    return 1 if difference($x, $y, $query, 1 << 30) eq '';
    return 0 if $how[0] ne 'query_range';
    # too many orders to meet ours: the steps one by one
    my %p = @how[1 .. $#how];
    for (my $at = $p{start}; $at <= $p{end}; $at += $p{step} * 3) {
        my @when = ('query', time => sprintf '%.3f', $at);
        my ($d, $x, $y) = differ($query, @when);
        return 0 if $d && !unsettled($query, $x, $y, @when);
    }
    return 1;
}

# Texts of 3.5 that are worded differently since, brought to one form.
sub normal {
    my ($b) = @_;
    return $b unless $b =~ /"(?:warnings|infos|error)":/;
    # sort in range queries has no warning in 3.5
    $b =~ s/"PromQL warning: sort is ineffective[^"]*"(,?)//g;
    $b =~ s/,"warnings":\[\]//;
    $b =~ s/,\](?=[,}])/]/g;
    # details of this note are newer; names are shown or not with the name
    $b =~ s/(#histogram_quantile\))[^"\\]*?(?: for metric name \\"(?:[^"\\]|\\[^"])*\\")?[^"\\]*?( \(\d+:\d+\)")/$1$2/g;
    $b =~ s/(bucket label \\"le\\" is missing or has a malformed value of \\"(?:[^"\\]|\\[^"])*\\") for metric name \\"(?:[^"\\]|\\[^"])*\\"/$1/g;
    $b =~ s/(?:Scalar value|Ratio value) NaN (?:overflows int64|is NaN)|Ratio value is NaN/Parameter value is NaN/;
    $b =~ s/duration is NaN or infinite/duration is out of range/;
    # the two series come in another order
    $b =~ s/(operation: \[)(\{.*\}), (\{.*\})(\];many)/$1 . join(', ', sort $2, $3) . $4/e;
    # parser
    $b =~ s/\\"\\u003cItem \d+\\u003e\\" (?=\\u003cop:)//;
    $b =~ s/subquery or range selector, expected number, duration, step\(\), or range\(\)/subquery selector, expected number or duration/;
    $b =~ s/expected number, duration, step\(\), or range\(\)/expected number or duration/;
    $b =~ s/expected number, duration, step\(\), range\(\), or/expected number or duration or/;
    return $b;
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
                && !explained($text, $path, $x, $y)
                && !unsettled($text, $x, $y, $path, @when))
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
    diag("$i, $mode: @how\n  ", Nightlight::Expr::text($e),
        "\n  smallest: $text\n  ",
        substr(join("\n  ", split /\n/, $why), 0, 1200));
}

my @which = defined $ENV{NLT_DIFF_ONLY} ? split(/,/, $ENV{NLT_DIFF_ONLY})
    : 0 .. $n - 1;
my $given = $ENV{NLT_DIFF_EXPR};
utf8::decode($given) if defined $given;
my ($failed, $from, %explained) = (0, time());
EXPR: for my $i (@which) {
    my $e = defined $given ? { t => 'v', f => $given, k => [] } : $gen->expr($i);
    my $query = Nightlight::Expr::text($e);
    my ($instant, $range) = moment($i);
    $mode = $i % 2 ? 'delayed' : 'prom';
    for my $how (['query', @$instant], ['query_range', @$range]) {
        my ($d, $x, $y) = differ($query, @$how);
        $empty++ if $x->{body} =~ /"result":\[\]/;
        $errors++ if $x->{status} != 200;
        $notes++ if $x->{body} =~ /"(?:warnings|infos)":\["PromQL/;
        diag("$query @$how\n$x->{body}\n$y->{body}")
            if defined $ENV{NLT_DIFF_ONLY};
        next if $d eq '';
        my $why = explained($query, $how->[0], $x, $y)
            || unsettled($query, $x, $y, @$how) && 'unsettled';
        if ($why) {
            $explained{$why}++;
            next;
        }
        report($i, $e, $x, @$how);
        last EXPR if ++$failed >= ($ENV{NLT_DIFF_FAILS} || 10);
        last;
    }
}
is($failed, 0, scalar(@which) . ' expressions without a difference');
note('explained: ', join(', ', map { "$explained{$_} $_" } sort keys %explained));
note(sprintf '%d empty, %d errors, %d with notes, %d values within %d ulp; %.1f s',
    $empty, $errors, $notes, $inexact, $worst, time() - $from);
unless (defined $ENV{NLT_DIFF_ONLY}) {
    my $told = 0;
    $told += $_ for values %explained;
    cmp_ok($told, '<', @which / 20, "$told of them are explained");
    cmp_ok($empty + $errors, '<', @which, 'most have a result');
}
$t->done();
