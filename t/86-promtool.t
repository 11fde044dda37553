#!/usr/bin/perl
# promtool as a client: what it asks, pushes, checks, reads of a snapshot and
# makes of our answers.  That of PATH (Debian has 2.42) and that of
# TEST_PROMTOOL35 are asked the same; what only a newer one can do is left out
# with the older.
use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Peers qw(peers version capture snippet commands);

my $t = Nightlight::Test->new();
my @promtool = peers($t, 'promtool');
plan(skip_all => 'no promtool') unless @promtool;

$t->write_conf(store => 'memory=24m retention=10y', locations => <<'EOF2');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/admin/  { nightlight_admin main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOF2
$t->run();

my $url = 'http://127.0.0.1:' . $t->port('http');
my $dir = $t->dir;
# a border of blocks some hours ago: rules are filled in from there
my $t0 = int(time() / 7200) * 7200 - 14400;

# ---- samples: 40 minutes of them, every 30 s ----

my @series = (
    [{ __name__ => 'temp', room => 'a' }, sub { 20 + $_[0] / 4 }],
    [{ __name__ => 'temp', room => 'b "c"' }, sub { (100 + $_[0]) * 1e20 }],
    [{ __name__ => 'jobs_total', job => 'x', queue => "caf\x{e9}" },
        sub { $_[0] * 3 }],
    [{ __name__ => 'lat_bucket', le => '0.1', room => 'a' }, sub { $_[0] }],
    [{ __name__ => 'lat_bucket', le => '1', room => 'a' }, sub { 2 * $_[0] }],
    [{ __name__ => 'lat_bucket', le => '+Inf', room => 'a' },
        sub { 2 * $_[0] + 1 }],
);
my $pb = join '', map { my ($labels, $value) = @$_;
    Nightlight::Test::series_pb($labels,
        map { [($t0 + 30 * $_) * 1000, $value->($_)] } 0 .. 80) } @series;
is($t->write_pb($pb)->{status}, 204, 'samples');
my $now = int(time() * 1000);
is($t->write({ __name__ => 'up', job => 'x' }, [$now - 1000, 1]), 204, 'up');
is($t->write({ __name__ => 'jobs_total', job => 'x' },
    map { [$now - 1000 * $_, 1000 - $_] } 1 .. 300), 204, 'a counter of now');

my $end = $t0 + 2400;
my $cafe = "caf\xc3\xa9";

# [arguments after "query", lines of output in any order]
my @queries = (
    [['instant', "--time=$end", $url, 'temp'],
        "temp{room=\"a\"} => 40 \@[$end]",
        "temp{room=\"b \\\"c\\\"\"} => 18000000000000000000000 \@[$end]"],
    [['instant', "--time=$end", $url, 'sum(temp{room="a"}) * 2'],
        "{} => 80 \@[$end]"],
    [['instant', "--time=$end", $url, '1 / 0'], "scalar: +Inf \@[$end]"],
    [['instant', "--time=$end.25", $url, 'time()'],
        "scalar: $end.25 \@[$end.25]"],
    [['instant', "--time=$end", $url, 'jobs_total[1m]'],
        "jobs_total{job=\"x\", queue=\"$cafe\"} =>",
        '237 @[' . ($end - 30) . ']', "240 \@[$end]"],
    [['instant', "--time=$end", $url, 'nothing'], ''],
    [['range', "--start=$t0", '--end=' . ($t0 + 60), '--step=30s', $url,
            'rate(jobs_total[1m])'],
        "{job=\"x\", queue=\"$cafe\"} =>", '0.05 @[' . ($t0 + 30) . ']',
        '0.1 @[' . ($t0 + 60) . ']'],
    [['range', '--header=X-Scope: all', "--start=$t0", '--end=' . ($t0 + 60),
            '--step=30s', $url, 'temp{room="a"}'],
        'temp{room="a"} =>', map { (20 + $_ / 4) . ' @[' . ($t0 + 30 * $_) . ']' }
            0 .. 2],
    [['series', '--match=temp', '--match={job="x"}', "--start=$t0",
            "--end=$end", $url],
        '{__name__="temp", room="a"}', '{__name__="temp", room="b \"c\""}',
        "{__name__=\"jobs_total\", job=\"x\", queue=\"$cafe\"}"],
    [['series', '--match=temp', '--start=' . ($t0 + 90000), $url]],
    [['labels', "--start=$t0", "--end=$end", $url, 'room'], 'a', 'b "c"'],
    [['labels', '--match={le="1"}', $url, 'room'], 'a'],
    [['labels', $url, '__name__'], qw(jobs_total lat_bucket temp up)],
);

my @errors = (
    ['sum(', 'query error: bad_data: invalid parameter "query": 1:5: parse '
        . 'error: unclosed left parenthesis'],
    ['temp + on() lat_bucket', 'query error: execution: found duplicate series '
        . 'for the match group {} on the '],
);

for my $promtool (@promtool) {
    my $v = version($promtool);
    for my $case (@queries) {
        my ($args, @want) = @$case;
        # without a time a label of hours ago would be asked of now
        my ($code, $out, $err) = capture($t, [$promtool, 'query', @$args]);
        is("$code $err", '0 ', "$v query @$args[0, -1]");
        is_deeply([sort split /\n/, $out], [sort grep { length } @want],
            'and its output');
    }
    for my $case (@errors) {
        my ($code, $out, $err) = capture($t,
            [$promtool, 'query', 'instant', "--time=$end", $url, $case->[0]]);
        is($code, 1, "$v query instant $case->[0]");
        is(substr("$out$err" =~ s/\n*\z//r, 0, length $case->[1]), $case->[1],
            'says why');
    }
    # as docs/CLIENTS.md has it
    for my $cmd (grep { $_->[0] eq 'query' } commands($t, 'promtool-query')) {
        my ($code, $out, $err) = capture($t, [$promtool, @$cmd]);
        is("$code $err", '0 ', "$v @$cmd[0, 1]");
        isnt($out, '', 'answers');
    }
    my @json = (['query', 'instant', "--time=$end", '-o', 'json', $url],
        ['-o', 'json', 'query', 'instant', "--time=$end", $url]);
    my ($out) = grep { length } map { (capture($t,
        [$promtool, @$_, 'temp{room="a"}']))[1] } @json;
    is_deeply(JSON::PP->new->decode($out || 'null'),
        [{ metric => { __name__ => 'temp', room => 'a' },
            value => [$end, '40'] }], "$v query instant as JSON");
}

# ---- what only newer ones have ----

sub only_newer {
    my ($promtool, $v) = @_;
    my ($code, $out, $err) = capture($t, [$promtool, 'query', 'analyze',
        "--server=$url", '--type=histogram', "--time=$end", '--duration=30m',
        '--match=lat_bucket']);
    is("$code $err", '0 ', "$v query analyze");
    like($out, qr/^- lat_bucket\{room="a"\} \(classic\): 3/m, 'names the histogram');
    for my $cmd (grep { $_->[0] eq 'check' } commands($t, 'promtool-query')) {
        ($code, $out, $err) = capture($t, [$promtool, @$cmd]);
        is($code, 0, "$v check $cmd->[1]") or diag($err);
        like($out . $err, qr/SUCCESS/, 'is content');
    }

    # ---- push: text exposition by remote_write ----
    $t->write_file('push.prom', <<"EOF2");
# HELP done_total Things done.
# TYPE done_total counter
done_total{queue="$cafe"} 17
# TYPE depth gauge
depth -1.5e-7
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.1"} 1
wait_seconds_bucket{le="+Inf"} 2
wait_seconds_sum 3.5
wait_seconds_count 2
# TYPE rpc summary
rpc{quantile="0.5"} 0.25
rpc_sum 1
rpc_count 4
EOF2
    my $before = time();
    my ($push) = commands($t, 'promtool-push', 'metrics.prom' =>
        "$dir/push.prom");
    ($code, $out, $err) = capture($t, [$promtool, @$push, "--label=by=$v",
        '--header=X-Batch=1']);
    is($code, 0, "$v push metrics") or diag($err);
    my $r = $t->query("{by=\"$v\"}")->{result};
    my %have = map { my $m = $_->{metric};
        $m->{__name__} . join('', map { ",$_=$m->{$_}" }
            grep { !/^(?:__name__|by)$/ } sort keys %$m)
            => $_->{value}[1] } @$r;
    is_deeply(\%have, { "done_total,job=batch,queue=caf\x{e9}" => '17',
        'depth,job=batch' => '-1.5e-07', 'rpc_sum,job=batch' => '1',
        'wait_seconds_bucket,job=batch,le=0.1' => '1',
        'wait_seconds_bucket,job=batch,le=+Inf' => '2',
        'wait_seconds_sum,job=batch' => '3.5', 'rpc_count,job=batch' => '4',
        'wait_seconds_count,job=batch' => '2',
        'rpc,job=batch,quantile=0.5' => '0.25' }, 'every sample of the file');
    my ($when) = $t->value("timestamp(depth{by=\"$v\"})");
    cmp_ok($when, '>=', int $before, 'with the time of the push');
    ($code, $out, $err) = capture($t, [$promtool, 'push', 'metrics',
        "$url/api/v1/label/x/values", "$dir/push.prom"]);
    isnt($code, 0, 'a push to another path fails');
    like($out . $err, qr/405/, 'and says why');
}

for my $promtool (grep { (capture($t, [$_, 'push', '--help']))[0] == 0 }
    @promtool)
{
    only_newer($promtool, version($promtool));
}

# ---- lint of our own metrics ----

my $metrics = $t->http('GET', '/metrics')->{body};
for my $promtool (@promtool) {
    my ($code, $out, $err) = capture($t, [$promtool, 'check', 'metrics'],
        in => $metrics);
    is("$code $out$err", '0 ', version($promtool) . ' check metrics');
}

# ---- blocks of recording rules, filled in from our answers ----

$t->write_file('rules.yml', <<'EOF2');
groups:
- name: fill
  interval: 1m
  rules:
  - {record: 'room:temp:double', expr: 'temp{room="a"} * 2', labels: {by: fill}}
  - {record: 'job:jobs:rate1m', expr: 'sum by (job) (rate(jobs_total[1m]))'}
EOF2
for my $promtool (@promtool) {
    my $v = version($promtool);
    my ($fill) = commands($t, 'promtool-backfill', filled => "$dir/filled",
        'rules.yml' => "$dir/rules.yml", 1795900000 => $t0,
        1795986400 => $end);
    my ($code, $out, $err) = capture($t, [$promtool, @$fill]);
    is($code, 0, "$v tsdb create-blocks-from rules") or diag($err);
    my @blocks = grep { /[0-9A-Z]{26}$/ } glob "$dir/filled/*";
    cmp_ok(scalar @blocks, '>=', 1, 'makes blocks');
    system('cp', '-r', @blocks, "$dir/store/import/") == 0 or die 'cp';
    ok($t->wait_for(sub { !glob "$dir/store/import/*" }, 'import'),
        'which are imported');
    remove_tree("$dir/filled");
    my $r;
    $t->wait_for(sub {
        $r = $t->query('{__name__=~"room:temp:double|job:jobs:rate1m"}[1h]',
            time => $end + 30)->{result};
        return @$r == 2;
    }, 'imported series');
    my %r = map { $_->{metric}{__name__} => $_ } @$r;
    is_deeply($r{'room:temp:double'}{metric}, { __name__ => 'room:temp:double',
        room => 'a', by => 'fill' }, 'with the labels of the rule');
    # promtool begins within the first interval, where chance has it
    my @points = @{$r{'room:temp:double'}{values}};
    is(scalar(grep { $_->[1] != 40 + int(($_->[0] - $t0) / 30) / 2 } @points), 0,
        'and its values');
    cmp_ok(scalar @points, '>=', 39, 'all of them');
    is(scalar @{$r{'job:jobs:rate1m'}{values}},
        scalar(grep { $_->[0] >= $t0 + 30 } @points),
        'the second one begins where its rate does');
    is($t->api_post('admin/tsdb/delete_series',
        'match[]' => '{__name__=~".+:.+"}')->{code}, 204, 'deleted');
}

# ---- a snapshot ----

my $name = $t->api_post('admin/tsdb/snapshot')->{data}{name};
ok($name, 'a snapshot') or BAIL_OUT('no snapshot');
my $snapshot = "$dir/store/snapshots/$name";
my $want = 81 * @series;
for my $promtool (@promtool) {
    my $v = version($promtool);
    # a copy: promtool wants the log of a Prometheus beside the blocks
    my $copy = "$dir/copy-$v";
    make_path("$copy/wal");
    system('cp', '-r', glob("$snapshot/*"), $copy) == 0 or die 'cp';
    my ($code, $out, $err) = capture($t, [$promtool, 'tsdb', 'list', $copy]);
    is($code, 0, "$v tsdb list") or diag($err);
    my @rows = map { [split ' '] } grep { /^[0-9A-Z]{26} / } split /\n/, $out;
    is(scalar @rows, scalar(() = glob "$snapshot/*"), 'every block');
    my ($with) = grep { $_->[1] <= $t0 * 1000 && $_->[2] > $t0 * 1000 } @rows;
    ok($with, 'that of our samples') or next;
    cmp_ok($with->[4], '>=', $want, 'has them all');

    ($code, $out, $err) = capture($t,
        [$promtool, 'tsdb', 'analyze', $copy, $with->[0]]);
    is($code, 0, "$v tsdb analyze") or diag($err);
    # temp 2, jobs_total 1, lat_bucket 3; what was imported and deleted may
    # still have its labels
    like($out, qr/^3 lat_bucket$/m, 'counts series of a metric');
    like($out, qr/^3 le$/m, 'and values of a label');

    ($code, $out, $err) = capture($t, [$promtool, 'tsdb', 'dump',
        '--match={__name__=~"temp|jobs_total|lat_bucket"}',
        '--max-time=' . $end * 1000, $copy]);
    is($code, 0, "$v tsdb dump") or diag($err);
    my @lines = split /\n/, $out;
    is(scalar @lines, $want, "$want samples");
    is_deeply([grep { /room="b/ } @lines], [map {
        '{__name__="temp", room="b \\"c\\""} '
            . ((100 + $_) / 100 . 'e+22') . ' ' . ($t0 + 30 * $_) * 1000
        } 0 .. 80], 'each as it was written');
}

$t->done();
