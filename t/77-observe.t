#!/usr/bin/perl
# What an operator sees of queries: how they ended, how long they took.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my $t = Nightlight::Test->new();
my $now = int(time());
$t->write_conf(locations => <<'EOF');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location = /federate     { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location /samples/       { nightlight_query main;
                                   nightlight_query_max_samples 2; }
        location /series/        { nightlight_query main;
                                   nightlight_query_max_series 2; }
        location /memory/        { nightlight_query main;
                                   nightlight_query_memory 64k; }
        location /time/          { nightlight_query main;
                                   nightlight_query_timeout 1ms; }
EOF
$t->run();

my @series = map { { __name__ => 'm', i => $_ } } 1 .. 20;
is($t->write(map { ($_, map { [($now - 60 + $_) * 1000, $_] } 1 .. 50) }
    @series), 204, 'written');

# {labels of the sample} of a metric
sub values_of {
    my ($name) = @_;
    return { $t->http('GET', '/metrics')->{body}
        =~ /^\Q$name\E(\{.*\})? (\S+)$/mg };
}

sub get { my ($uri, %p) = @_;
    return $t->http('GET', "$uri?" . Nightlight::Test::form(%p)) }

# The request, its status, and the outcome that it is counted as.
sub ends {
    my ($outcome, $status, $what, $do) = @_;
    my $was = values_of('nightlight_query_outcomes_total');
    is($do->()->{status}, $status, "$what: $status");
    my $is = values_of('nightlight_query_outcomes_total');
    is_deeply({ map { $is->{$_} == $was->{$_} ? ()
        : ($_ => $is->{$_} - $was->{$_}) } keys %$is },
        { "{outcome=\"$outcome\"}" => 1 }, "is $outcome");
}

ends('ok', 200, 'a query', sub { get('/api/v1/query', query => 'm') });
ends('ok', 200, 'series', sub { get('/api/v1/series', 'match[]' => 'm') });
ends('ok', 200, 'federate', sub { get('/federate', 'match[]' => 'm') });
ends('bad_data', 400, 'no query', sub { get('/api/v1/query') });
ends('bad_data', 400, 'a wrong one', sub { get('/api/v1/query', query => '(') });
ends('execution', 422, 'many to many', sub { get('/api/v1/query',
    query => 'm * on() m') });
ends('limit_samples', 422, 'samples', sub { get('/samples/query',
    query => 'm') });
ends('limit_series', 422, 'series', sub { get('/series/query',
    query => 'm') });
ends('limit_series', 422, 'federated series', sub { get('/series/federate',
    'match[]' => 'm') });
ends('limit_memory', 422, 'memory', sub { get('/memory/query_range',
    query => '-sort(m + 1)', start => $now - 10000, end => $now, step => 1) });
ends('timeout', 503, 'time', sub { get('/time/query',
    query => 'count(count_over_time((m > 0)[1d:1s]))') });

# ---- histograms: one by kind ----

sub count_of { my ($kind) = @_;
    return values_of('nightlight_query_duration_seconds_count')
        ->{"{kind=\"$kind\"}"} }

for (['instant', '/api/v1/query', query => '1'],
    ['range', '/api/v1/query_range', query => 'm', start => $now - 60,
        end => $now, step => 1],
    ['series', '/api/v1/series', 'match[]' => 'm'],
    ['labels', '/api/v1/labels'], ['labels', '/api/v1/label/i/values'],
    ['federate', '/federate', 'match[]' => 'm'],
    ['other', '/api/v1/metadata'],
    ['other', '/api/v1/query_exemplars', query => 'm', start => 0,
        end => $now]) {
    my ($kind, @get) = @$_;
    my $was = count_of($kind);
    my $queue = $t->metric('nightlight_query_queue_duration_seconds_count');
    is(get(@get)->{status}, 200, $get[0]);
    is(count_of($kind), $was + 1, "counted as $kind");
    is($t->metric('nightlight_query_queue_duration_seconds_count'),
        $queue + 1, 'and waited');
}
is(get('/api/v1/status/buildinfo')->{status}, 200, 'what reads no data');
is(count_of('other'), 2, 'is not counted');
my $long = get('/api/v1/query',
    query => 'count(count_over_time((m > 0)[4h:1s]))');
is($long->{status}, 200, 'a long query');
my $buckets = values_of('nightlight_query_duration_seconds_bucket');
cmp_ok($buckets->{'{kind="instant",le="0.001"}'}, '<',
    $buckets->{'{kind="instant",le="+Inf"}'}, 'is in a later bucket');
cmp_ok(values_of('nightlight_query_duration_seconds_sum')
    ->{'{kind="instant"}'}, '>', 0.001, 'and in the sum');

# ---- writes, by how they ended ----

sub writes { my $c = values_of('nightlight_write_duration_seconds_count');
    return join ' ', map { $c->{"{result=\"$_\"}"} } qw(ok refused failed) }
is(writes(), '1 0 0', 'writes: one, that was taken');
is($t->write({ __name__ => 'm' }, [1000 * ($now + 86400), 1]), 400,
    'a sample of tomorrow');
is(writes(), '1 1 0', 'is counted as refused');
my $sum = values_of('nightlight_write_duration_seconds_sum');
cmp_ok($sum->{'{result="ok"}'}, '>', 0, 'the time of one is in the sum');
cmp_ok($sum->{'{result="ok"}'}, '<', 60, 'and is one');

# ---- what the store does ----

for (qw(write fsync)) {
    my $name = "nightlight_wal_${_}_duration_seconds_count";
    ok($t->wait_for(sub { $t->metric($name) > 0 }, $name), "wal: $_");
}
is($t->metric('nightlight_flush_last_success_timestamp_seconds'), 0,
    'no flush yet');
my $arenas = values_of('nightlight_arena_state');
is((grep { $_ == 2 } values %$arenas), 1, 'one arena takes samples');
my ($active) = grep { $arenas->{$_} == 2 } keys %$arenas;
cmp_ok(values_of('nightlight_arena_bytes')->{$active}, '>', 0,
    'and has memory');
is($t->http('POST', '/-/flush')->{status}, 204, 'flush');
ok($t->wait_for(sub {
    $t->metric('nightlight_flush_last_success_timestamp_seconds') >= $now },
    'flushed'), 'a flush has its time');
is($t->metric('nightlight_flush_duration_seconds_count'), 1, 'and duration');
ok($t->wait_for(sub { values_of('nightlight_level_blocks')
    ->{'{level="1"}'} > 0 }, 'blocks'), 'blocks of level 1');
cmp_ok(values_of('nightlight_level_block_bytes')->{'{level="1"}'}, '>', 0,
    'with bytes');
is(values_of('nightlight_level_blocks')->{'{level="2"}'}, 0, 'none of 2');

# ---- the program ----

my ($info) = keys %{values_of('nightlight_build_info')};
like($info, qr/^\{nginx_version="[\d.]+",version="[\d.]+"\}$/, 'build info');
cmp_ok(abs($t->metric('nightlight_start_time_seconds') - $now), '<', 60,
    'start time');
my $config = $t->metric('nightlight_config_time_seconds');
is($t->metric('nightlight_processes'), 3, 'two workers and the helper');

# self_metrics has the same, as protobuf's JSON
my ($h) = @{$t->api('status/self_metrics', metric_name_pattern =>
    'nightlight_query_duration_seconds')->{data}};
is($h->{type}, 'HISTOGRAM', 'self_metrics: a histogram');
is_deeply($h->{metric}[0]{label}, [{ name => 'kind', value => 'instant' }],
    'with its label');
is($h->{metric}[0]{histogram}{sampleCount}, count_of('instant'), 'its count');
is(scalar @{$h->{metric}[0]{histogram}{bucket}}, 16, 'and buckets');
my ($build) = @{$t->api('status/self_metrics', metric_name_pattern =>
    'nightlight_build_info')->{data}};
cmp_ok($build->{metric}[0]{gauge}{value}, '==', 1, 'and gauges with labels');

$t->reload();
cmp_ok($t->metric('nightlight_config_time_seconds'), '>', $config,
    'a reload is seen');
$t->done();
