#!/usr/bin/perl
# Others read what we write, and we serve what they wrote: snapshots taken
# while the store runs are read by promtool and by Prometheus, blocks of
# Prometheus with native histograms in them are imported, and both ways every
# answer is the same.
#
# The first Prometheus is TEST_PROMETHEUS or that of PATH (Debian has 2.42), a
# second, newer one TEST_PROMETHEUS35, its promtool TEST_PROMTOOL35.  What 2.42
# answers otherwise (ranges closed at both ends, rates of counters born inside
# them) is not asked: instants never fall on a sample.
use strict;
use warnings;
no warnings 'portable';      # 64-bit integers are needed anyway
use File::Path qw(make_path remove_tree);
use Test::More;
use Time::HiRes qw(time sleep);
use Nightlight::Test;
use Nightlight::Load;

*series_pb = \&Nightlight::Test::series_pb;
*field = \&Nightlight::Test::field;
*varint = \&Nightlight::Test::varint;

my $t = Nightlight::Test->new(formats => 1);
my @prometheus = grep { $_ && -x } $ENV{TEST_PROMETHEUS}
    || $t->program('prometheus'), $ENV{TEST_PROMETHEUS35};
my @promtool = grep { $_ && -x } $t->program('promtool'), $ENV{TEST_PROMTOOL35};
plan(skip_all => 'no promtool') unless @promtool;
plan(skip_all => 'no prometheus') unless @prometheus;
diag('TEST_PROMETHEUS35 and TEST_PROMTOOL35 do not name a newer Prometheus: '
    . 'only one is asked') unless $ENV{TEST_PROMETHEUS35};

sub conf {
    my (%p) = @_;
    $t->write_conf(store => 'memory=24m retention=10y', locations => <<'EOF2', %p);
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/admin/  { nightlight_admin main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOF2
}
conf();
$t->run();

my $dir = $t->dir;
my $now = int(time() / 60) * 60;
my $ms = $now * 1000;

# ---- asking ----

sub ask {
    my ($port, $path, %p) = @_;
    my $r = $t->http('GET', "/api/v1/$path?" . Nightlight::Test::form(%p),
        port => $port);
    my $json = eval { JSON::PP->new->utf8->decode($r->{body}) } || {};
    return { code => $r->{status}, raw => $r->{body}, %$json };
}

my $canonical = JSON::PP->new->canonical;

sub same_value {
    my ($x, $y) = @_;
    return 1 if $x eq $y;
    return 0 if "$x$y" =~ /[a-df-zA-Z]/;
    my $size = abs($x) > abs($y) ? abs($x) : abs($y);
    return abs($x - $y) <= 1e-12 * $size;
}

# The result with series in an order, as [[labels, [t, v], ...], ...].
sub rows {
    my ($answer) = @_;
    my $d = $answer->{data};
    return [map { [$_] } sort map { ref $_ ? $canonical->encode($_) : $_ } @$d]
        if ref $d eq 'ARRAY';
    return [['', $d->{result}]] if $d->{resultType} !~ /vector|matrix/;
    return [sort { $a->[0] cmp $b->[0] } map {
        [$canonical->encode($_->{metric}),
            $_->{values} ? @{$_->{values}} : $_->{value} ? $_->{value} : (),
            map { [$_->[0], $canonical->encode($_->[1])] }
                $_->{histograms} ? @{$_->{histograms}}
                    : $_->{histogram} ? $_->{histogram} : ()]
    } @{$d->{result}}];
}

# What is different, '' if nothing is.
sub difference {
    my ($x, $y) = @_;
    return "$x->{code} $x->{raw}, not $y->{code} $y->{raw}"
        if $x->{code} != 200 || $y->{code} != 200;
    my ($r, $s) = (rows($x), rows($y));
    return scalar(@$r) . ' series, not ' . @$s if @$r != @$s;
    for my $i (0 .. $#$r) {
        my ($p, $q) = ($r->[$i], $s->[$i]);
        return "series $p->[0], not $q->[0]" if $p->[0] ne $q->[0];
        return "$p->[0]: " . $#$p . ' points, not ' . $#$q if @$p != @$q;
        for my $k (1 .. $#$p) {
            return "$p->[0]: @{$p->[$k]}, not @{$q->[$k]}"
                unless $p->[$k][0] == $q->[$k][0]
                    && same_value($p->[$k][1], $q->[$k][1]);
        }
    }
    return '';
}

my $n_points = 0;

# The answers of all, remembered: [path, [parameters], answer].
sub answers {
    my ($port, @questions) = @_;
    return map { [@$_, ask($port, $_->[0], @{$_->[1]})] } @questions;
}

sub agree {
    my ($port, $what, @answers) = @_;
    for my $answer (@answers) {
        my ($path, $p, $want) = @$answer;
        my %p = @$p;
        my $got = ask($port, $path, %p);
        my $diff = eval { difference($got, $want) };
        is($diff, '', "$what: $path "
            . ($p{query} || (ref $p{'match[]'} ? "@{$p{'match[]'}}"
                : $p{'match[]'}) || '')) or diag($@);
        $n_points += @$_ - 1 for @{rows($want)};
    }
}

# ---- programs ----

sub run {
    my (@cmd) = @_;
    my $pid = open(my $p, '-|');
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        open(STDERR, '>&', \*STDOUT);
        exec(@cmd) or POSIX::_exit(127);
    }
    local $/;
    my $out = <$p>;
    close $p;
    return ($? >> 8, defined $out ? $out : '');
}

sub version {
    my ($program) = @_;
    my ($code, $out) = run($program, '--version');
    return $out =~ /version (\S+)/ ? $1 : 'unknown version';
}

# Prometheus on a directory of blocks, or an empty one; its pid.
sub start_prometheus {
    my ($program, $port, $data, @args) = @_;
    $t->write_file('prometheus.yml', "global: {scrape_interval: 1h}\n");
    my $pid = $t->spawn($program, "--config.file=$dir/prometheus.yml",
        "--storage.tsdb.path=$data", '--storage.tsdb.retention.time=10y',
        '--log.level=warn', '--web.listen-address=127.0.0.1:'
        . $t->port($port), @args);
    my $up = $t->wait_for(sub {
        my $r = eval { $t->http('GET', '/-/ready', port => $port) };
        return $r && $r->{status} == 200;
    }, "prometheus $port", 30);
    ok($up, "Prometheus " . version($program) . " runs on $port")
        or diag($t->read_file('logs/prometheus.log'));
    return $pid;
}

sub stop_prometheus {
    my ($pid) = @_;
    kill 'TERM', $pid;
    waitpid($pid, 0);
    $t->{pids} = [grep { $_ != $pid } @{$t->{pids}}];
}

sub delete_series {
    my (%p) = @_;
    return $t->http('POST', '/api/v1/admin/tsdb/delete_series?'
        . Nightlight::Test::form(%p))->{status};
}

sub snapshot {
    my ($port, $args) = @_;
    my $r = $t->http('POST', '/api/v1/admin/tsdb/snapshot' . ($args || ''),
        port => $port);
    my ($name) = $r->{body} =~ /"name":"([^"]+)"/;
    diag("snapshot: $r->{status} $r->{body}") unless $name;
    return $name;
}

# {series => {t => value}} of what promtool dumps of a directory.
sub dump_of {
    my ($promtool, $blocks) = @_;
    my $copy = "$dir/dump";
    remove_tree($copy);
    make_path("$copy/wal");     # which promtool wants to be there
    system('cp', '-rl', glob("$blocks/*"), $copy) == 0 or die 'cp';
    my ($code, $out) = run($promtool, 'tsdb', 'dump', $copy);
    is($code, 0, 'promtool ' . version($promtool) . ' tsdb dump')
        or diag(substr($out, 0, 500));
    my %have;
    for (split /\n/, $out) {
        my ($labels, $v, $at) = /^(\{.*\}) (\S+) (\d+)$/ or next;
        next if $v =~ /\{/;     # a histogram
        my %l = $labels =~ /(\w+)="((?:[^"\\]|\\.)*)"/g;
        $have{join ',', map { "$_=$l{$_}" } sort keys %l}{$at} = $v;
    }
    return \%have;
}

# The same of what the store answers at $at for a range of seconds.
sub answer_of {
    my ($at, $seconds) = @_;
    my %have;
    for my $s (@{$t->query("{__name__=~\".+\"}[${seconds}s]", time => $at)
        ->{result}})
    {
        my %l = %{$s->{metric}};
        for (values %l) { utf8::encode($_); s/([\\"])/\\$1/g; s/\n/\\n/g }
        my $k = join ',', map { "$_=$l{$_}" } sort keys %l;
        $have{$k}{sprintf '%.0f', $_->[0] * 1000} = $_->[1]
            for @{$s->{values} || []};
    }
    return \%have;
}

# Compares by value, since one prints 1e+06, the other 1000000.
sub missing {
    my ($x, $y, $only) = @_;
    my @bad;
    for my $k (sort keys %$x) {
        for my $at (sort keys %{$x->{$k}}) {
            next if $only && !$only->($k, $at);
            my ($v, $w) = ($x->{$k}{$at}, $y->{$k} && $y->{$k}{$at});
            next if defined $w && ($v eq $w || $v == $w);
            push @bad, "$k $at $v" . (defined $w ? ", not $w" : '');
        }
    }
    return @bad > 5 ? (@bad[0 .. 4], '... of ' . @bad) : @bad;
}

sub count_samples { my ($h) = @_; my $n = 0; $n += keys %$_ for values %$h;
    return $n }

# ---- what there is: values of every kind, late ones, deleted times ----

my %special = (nan => 0x7ff8000000000001, inf => 0x7ff0000000000000,
    ninf => 0xfff0000000000000, nzero => 0x8000000000000000, tiny => 1,
    tenth => 0x3fb999999999999a);
my $pb = '';
for my $k (sort keys %special) {
    $pb .= series_pb({ __name__ => 'special', k => $k },
        map { [$ms - 18_000_000 + $_ * 600_000, \pack('Q<', $special{$k})] }
            0 .. 30);
}
$pb .= series_pb({ __name__ => 'utf8', label => "caf\x{e9} \"\\ \x{6e29}" },
    map { [$ms - 18_000_000 + $_ * 60_000, $_ / 7] } 0 .. 300);
$pb .= series_pb({ __name__ => 'counter', i => $_, job => $_ % 2 ? 'a' : 'b' },
    map { my $n = $_; [$ms - 18_000_000 + $n * 15_000, ($n * 37) % 5000] }
        0 .. 1200) for 1 .. 5;
is($t->write_pb($pb)->{status}, 204, 'five hours of samples');
is($t->write({ __name__ => 'late' }, map { [$ms - $_ * 1000, $_] } 0 .. 50), 204,
    'in the wrong order');

is($t->write(map { ({ __name__ => 'victim', i => $_ }, [$ms - 60_000, $_]) }
    1 .. 4), 204, 'and some that will not be there long');

my @when = (start => $now - 18_001, end => $now + 1);
my @questions = (
    (map { [query => [query => $_, time => $now + 7.3]] } 'special[6h]',
        'utf8', 'sum_over_time(utf8[5h])', 'late[2m]',
        'sum by (job) (increase(counter[30m]))', 'topk(3, counter)',
        'count_over_time(counter[4h])', 'max by (i) (max_over_time(counter[3h]))',
        'count({__name__=~"special|counter"})', 'resets(counter[5h])'),
    (map { [query_range => [query => $_, start => $now - 17_653.7,
        end => $now, step => 97]] } 'counter', 'rate(counter[5m])',
        'avg by (job) (counter)', 'utf8', 'quantile_over_time(0.9, utf8[20m])'),
    [series => ['match[]' => ['special', '{job="a"}'], @when]],
    [labels => ['match[]' => '{__name__=~"special|counter|utf8"}', @when]],
    (map { ["label/$_/values" => ['match[]' =>
        '{__name__=~"special|counter|utf8"}', @when]] } qw(__name__ k job label)),
);

# ---- snapshots while the store is busy ----

my $load = Nightlight::Load->new($t, writers => 2, readers => 1, series => 5,
    pause => 0.002)->start();
my (@names, @acked);
for my $round (1 .. 4) {
    $t->wait_for(sub { $load->acknowledged() > $round * 300 }, 'load');
    push @acked, [map { my $w = $_; (split /\n/, $t->read_file("ledger.$w"))[-1] }
        0, 1];
    $t->http('POST', '/-/flush') if $round % 2;
    is(delete_series('match[]' => "victim{i=\"$round\"}"), 204, 'a delete');
    push @names, snapshot('http');
    ok($names[-1], "snapshot $round under load");
}
push @names, snapshot('http', '?skip_head=true');
$load->stop();
is($load->errors(), '', 'nobody was disturbed');
is(scalar(grep { defined } @names), 5, 'five snapshots');
is(scalar(glob("$dir/store/snapshots/*.tmp")), undef, 'nothing half made');

my $all = answer_of($now + 400, 20_000);
for my $i (0 .. $#acked) {
    my $have = dump_of($promtool[0], "$dir/store/snapshots/$names[$i]");
    is_deeply([missing($have, $all, sub { $_[0] !~ /victim/ })], [],
        "snapshot $i has nothing else");
    is(join(' ', grep { $have->{"__name__=victim,i=$_"} } 1 .. 4),
        join(' ', $i + 2 .. 4), 'and nothing that was deleted');
    my @until = map { (split / /)[0] } @{$acked[$i]};
    is_deeply([missing($all, $have, sub {
        my ($k, $at) = @_;
        return $k !~ /__name__=load/ || $k =~ /w=w([01])/ && $at <= $until[$1];
    })], [], 'and all that was acknowledged before');
    cmp_ok(count_samples($have), '>', 6000, count_samples($have) . ' samples');
}
my $have = dump_of($promtool[-1], "$dir/store/snapshots/$names[-1]");
is_deeply([missing($have, $all)], [], 'one without the head too');

# ---- blocks that only we read ----

my @dense;
if ($t->dense()) {
    @dense = glob "$dir/store/snapshots/" . snapshot('http', '?format=dense')
        . '/*';
    for my $promtool (@promtool) {
        my ($code, $out) = run($promtool, 'tsdb', 'list', "$dense[0]/..");
        unlike($out, qr/^[0-9A-Z]{26} /m,
            'promtool ' . version($promtool) . ' takes no dense block');
    }
}

# ---- read by promtool and Prometheus ----

my $snap = "$dir/store/snapshots/$names[3]";
for my $promtool (@promtool) {
    my $v = version($promtool);
    my ($code, $out) = run($promtool, 'tsdb', 'list', $snap);
    is($code, 0, "promtool $v tsdb list") or diag($out);
    my @rows = grep { /^[0-9A-Z]{26} / } split /\n/, $out;
    my @dirs = glob "$snap/*";
    is(scalar @rows, scalar @dirs, 'lists every block');
    for my $row (@rows) {
        my ($id) = split ' ', $row;
        ($code, $out) = run($promtool, 'tsdb', 'analyze', $snap, $id);
        is($code, 0, "promtool $v tsdb analyze $id") or diag($out);
    }
    is_deeply([missing($all, dump_of($promtool, $snap), sub {
        $_[0] !~ /__name__=load/ })], [], "promtool $v has every sample");
}

my @answers = answers('http', @questions);
my $n = 0;
for my $program (@prometheus) {
    my $v = version($program);
    my $copy = "$dir/copy" . $n++;
    system('cp', '-rl', $snap, $copy) == 0 or die 'cp';
    system('cp', '-rl', @dense, $copy) if @dense;   # are not looked into
    my $pid = start_prometheus($program, 'prom', $copy);
    agree('prom', "Prometheus $v", @answers);
    stop_prometheus($pid);
    my $log = $t->read_file('logs/prometheus.log');
    unlike($log, qr/corrupt|invalid block/i, 'without a complaint');
    like($log, qr/unexpected meta file version 128/, 'but of dense blocks')
        if @dense;
}
cmp_ok($n_points, '>', 2500 * @prometheus, "$n_points points compared");

# ---- blocks of Prometheus, native histograms in them ----

# One native histogram of schema 0 with buckets (1,2] and (2,4].
sub histogram_pb {
    my ($at, $low, $high) = @_;
    my $zigzag = sub { varint($_[0] < 0 ? -2 * $_[0] - 1 : 2 * $_[0]) };
    return field(4, "\x08" . varint($low + $high)            # count
        . "\x19" . pack('d<', 1.5 * $low + 3 * $high)        # sum
        . "\x20" . $zigzag->(0)                              # schema
        . "\x29" . pack('d<', 2 ** -128)                     # zero threshold
        . "\x30" . varint(0)                                 # zero count
        . field(11, "\x08" . $zigzag->(1) . "\x10" . varint(2))
        . field(12, $zigzag->($low) . $zigzag->($high - $low))
        . "\x78" . varint($at));
}

make_path("$dir/theirs");
my $theirs = start_prometheus($prometheus[-1], 'theirs', "$dir/theirs",
    '--enable-feature=native-histograms', '--web.enable-remote-write-receiver',
    '--web.enable-admin-api');
# the day before yesterday, so that what is imported of it is merged at once
my $day = int($ms / 86400_000) * 86400_000 - 2 * 86400_000;
my $from = $day + 3600_000;
my $bad = 0;
for my $k (0 .. 600) {
    my $at = $from + $k * 15_000;
    my $body = join '', map { series_pb({ __name__ => 'theirs', i => $_ },
        [$at, $k * $_ / 3]) } 1 .. 4;
    $body .= field(1, Nightlight::Test::labels_pb({ __name__ => 'latency',
        job => "j$_" }) . histogram_pb($at, 3 * $k + $_, 2 * $k)) for 1, 2;
    # a series that is sometimes one, sometimes the other
    $body .= field(1, Nightlight::Test::labels_pb({ __name__ => 'mixed' })
        . (int($k / 100) % 2 ? histogram_pb($at, $k, 1)
            : Nightlight::Test::sample_pb([$at, $k])));
    $bad++ if $t->write_pb($body, port => 'theirs')->{status} >= 300;
}
is($bad, 0, 'Prometheus takes floats and histograms');
my $their_name = snapshot('theirs');
my @their_blocks = glob "$dir/theirs/snapshots/$their_name/*";
cmp_ok(scalar @their_blocks, '>=', 1, scalar(@their_blocks) . ' blocks of it');

# as people do it: copied, slowly enough to be seen half done
my $refused = $t->metric('nightlight_imports_refused_total');
sub import_blocks {
    my (@blocks) = @_;
    my $before = $t->metric('nightlight_blocks_imported_total');
    system('cp', '-r', @blocks, "$dir/store/import/") == 0 or die 'cp';
    return $t->wait_for(sub {
        my @left = glob "$dir/store/import/*";
        return !@left && $t->metric('nightlight_blocks_imported_total')
            == $before + @blocks;
    }, 'import', 30);
}
ok(import_blocks(@their_blocks), 'they are imported within seconds');
is($t->metric('nightlight_imports_refused_total'), $refused, 'none is refused');

my $their_end = $from / 1000 + 600 * 15;
my @theirs = answers('theirs',
    (map { [query => [query => $_, time => $their_end + 7.3]] } 'theirs',
        'theirs[1h]', 'sum(rate(theirs[5m]))', 'sum_over_time(theirs[2h])',
        'sort_desc(theirs)', 'count(theirs)', 'absent(theirs)'),
    [query_range => [query => 'theirs', start => $from / 1000 + 3.3,
        end => $their_end, step => 61]],
    [series => ['match[]' => '{__name__=~".+"}', start => $from / 1000,
        end => $their_end]],
    [labels => ['match[]' => 'latency', start => $from / 1000,
        end => $their_end]],
    ['label/job/values' => ['match[]' => 'latency', start => $from / 1000,
        end => $their_end]]);
is(scalar @{rows($theirs[0][2])}, 4, 'Prometheus has the floats');
# of the same hours there are only theirs here, so everything can be asked
my @theirs_asked = map { $_->[0] eq 'series'
    ? [series => ['match[]' => ['theirs', 'latency', 'mixed'],
        start => $from / 1000, end => $their_end], $_->[2]] : $_ } @theirs;
agree('http', 'imported', @theirs_asked);

for my $q ('latency', 'latency[1h]', 'histogram_quantile(0.9, latency)',
    'rate(latency[5m])', 'sum(latency)', 'count(latency)')
{
    my $r = ask('http', 'query', query => $q, time => $their_end + 7.3);
    is($r->{code}, 200, "$q: no error");
    is(scalar @{$r->{data}{result} || [1]}, 0, 'and no samples');
}
# between 100 and 199 mixed is a histogram, and nothing where it was one
is($t->value('count_over_time(mixed[3h])', time => $their_end + 7.3), '301',
    'floats beside histograms of one series');
is_deeply($t->query('mixed', time => $from / 1000 + 150 * 15 + 299)->{result},
    [], 'no float is carried far into them');

# ---- blocks of promtool ----

my $om = "# TYPE made counter\n";
for my $k (0 .. 2000) {
    $om .= sprintf "made_total{i=\"%d\"} %g %.3f\n", $_, $k * $_,
        $day / 1000 + 4 * 3600 + $k * 30 for 1 .. 3;
}
$t->write_file('made.om', join '', (sort { (split ' ', $a)[0] cmp (split ' ',
    $b)[0] || (split ' ', $a)[2] <=> (split ' ', $b)[2] }
    grep { !/^#/ } $om =~ /(.*\n)/g), "# EOF\n");
my ($code, $out) = run($promtool[0], 'tsdb', 'create-blocks-from',
    'openmetrics', "$dir/made.om", "$dir/made");
is($code, 0, 'promtool makes blocks') or diag($out);
my @made = glob "$dir/made/*";
cmp_ok(scalar @made, '>', 3, scalar(@made) . ' of them');
my $made = dump_of($promtool[0], "$dir/made");
is(count_samples($made), 6003, 'of all samples');
ok(import_blocks(@made), 'they are imported');
is_deeply([missing($made, answer_of($day / 1000 + 86_400, 86_400))], [],
    'and served sample by sample');

# all of that day becomes one block, histograms and all
ok($t->wait_for(sub {
    for my $meta (glob "$dir/store/blocks/*/meta.json") {
        my $m = eval { JSON::PP->new->decode($t->read_file($meta)) } or next;
        my $s = $m->{stats};
        return 1 if ($s->{numHistogramSamples} || 0) > 1000
            && ($s->{numFloatSamples} || 0) > 6003;
    }
}, 'merge', 30), 'floats and histograms are merged');
is_deeply([missing($made, answer_of($day / 1000 + 86_400, 86_400))], [],
    'and the floats are served as before');
agree('http', 'merged', @theirs_asked);

# ---- and back: our snapshot has their histograms ----

my $back = snapshot('http');
for my $program (@prometheus) {
    my $v = version($program);
    my $copy = "$dir/back" . $n++;
    system('cp', '-rl', "$dir/store/snapshots/$back", $copy) == 0 or die 'cp';
    my $pid = start_prometheus($program, 'back', $copy);
    # quantiles are interpolated otherwise since 3.0
    agree('back', "there and back, $v", answers('theirs',
        map { [query => [query => $_, time => $their_end + 7.3]] } 'latency',
        'sum(histogram_count(latency))', 'histogram_sum(latency) * 1',
        'theirs[1h]', 'last_over_time(mixed[1h])',
        $program eq $prometheus[-1] ? ('histogram_quantile(0.9, latency)',
            'rate(latency[10m])', 'latency[30m]') : ()));
    agree('back', "and ours, $v", @answers);
    stop_prometheus($pid);
}
stop_prometheus($theirs);

# ---- deletes, which others see as tombstones ----

is(delete_series('match[]' => 'special{k="tenth"}'), 204, 'a series is deleted');
is(delete_series('match[]' => ['theirs{i="2"}', 'latency{job="j1"}'],
    start => $from / 1000 + 3600, end => $their_end), 204,
    'and parts of imported ones');
# Prometheus lists values of labels from the index, those that are gone too
my @after = answers('http', (grep { $_->[0] ne 'label/k/values' } @questions),
    (map { [query => [query => $_, time => $their_end + 7.3]] }
        'theirs[2h]', 'sum(count_over_time(theirs[3h]))'));
my $tombs = snapshot('http');
# what is made portable for it is rid of them
cmp_ok(scalar(grep { -s $_ > 9 } glob "$dir/store/snapshots/$tombs/*/tombstones"),
    '>', 1, 'a snapshot has tombstones') unless $t->dense();
$have = answer_of($now + 400, 300_000);
ok(!$have->{'__name__=special,k=tenth'}, 'they are not served');
for my $promtool (@promtool) {
    my $dump = dump_of($promtool, "$dir/store/snapshots/$tombs");
    is_deeply([missing($dump, $have)], [], 'promtool sees nothing else');
    # promtool leaves a series where its first histogram begins
    is_deeply([missing($have, $dump, sub { $_[0] !~ /mixed/ })], [],
        'and nothing less');
}
for my $program (@prometheus) {
    my $v = version($program);
    my $copy = "$dir/tombs" . $n++;
    system('cp', '-rl', "$dir/store/snapshots/$tombs", $copy) == 0 or die 'cp';
    my $pid = start_prometheus($program, 'tombs', $copy);
    agree('tombs', "deleted, $v", @after);
    my @hist = map { scalar @{ask('tombs', 'query', query =>
        "count(last_over_time(latency{job=\"$_\"}[1h]))",
        time => $their_end + 7.3)->{data}{result}} } 'j1', 'j2';
    is("@hist", '0 1', "histograms too, $v");
    stop_prometheus($pid);
}

# ---- a backup, and what is restored of it ----

my $backup = snapshot('http');
system('cp', '-r', "$dir/store/snapshots/$backup", "$dir/backup") == 0
    or die 'cp';
$all = answer_of($now + 400, 300_000);
my @ours = answers('http', @questions);
ok($t->stop(), 'the store stops');
remove_tree("$dir/store", "$dir/head");
mkdir "$dir/$_" for qw(store head);
$t->run();
is_deeply(answer_of($now + 400, 300_000), {}, 'and everything is lost');
ok(import_blocks(glob "$dir/backup/*"), 'the backup is imported');
my $restored = answer_of($now + 400, 300_000);
is(count_samples($restored), count_samples($all), 'as many samples');
is_deeply([missing($all, $restored)], [], 'the same ones');
agree('http', 'restored', @ours);

ok($t->stop(), 'it stops');
($code, $out) = run("$Nightlight::Test::ROOT/build/nightlight-inspect",
    "$dir/store");
is($code, 0, 'and nightlight-inspect finds no fault') or diag($out);

$t->done();
