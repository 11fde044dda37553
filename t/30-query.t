#!/usr/bin/perl
# PromQL over HTTP: answers byte for byte, limits, clients that leave or are
# slow.  What PromQL means is tested in t/promql; here it is the way through
# nginx: threads, streaming, cancelling.
use strict;
use warnings;
no warnings 'portable';      # 64-bit integers are needed anyway
use Test::More;
use Time::HiRes qw(time sleep);
use Nightlight::Test;

*series_pb = \&Nightlight::Test::series_pb;
*form = \&Nightlight::Test::form;

my $t = Nightlight::Test->new();
$t->write_conf(locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /short/         { nightlight_query main;
                                   nightlight_query_timeout 100ms; }
        location /few/           { nightlight_query main;
                                   nightlight_query_max_samples 1000; }
        location /narrow/        { nightlight_query main;
                                   nightlight_query_max_series 1000; }
        location /small/         { nightlight_query main;
                                   nightlight_query_memory 1m; }
        location /look/          { nightlight_query main;
                                   nightlight_lookback 10s; }
        location /all/           { nightlight_query main;
                                   nightlight_promql_features all; }
        location /prom/deep/api/v1/ { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOL
$t->run();

my $now = int(time() / 60) * 60;
my $ms = $now * 1000;

# ---- data: 20 minutes of a few series, every 15 s ----

my $pb = '';
for my $i (0 .. 2) {
    $pb .= series_pb({ __name__ => 'req_total', job => 'api', instance => "h$i" },
        map { [$ms - 1200_000 + $_ * 15_000, $_ * ($i + 1) * 3] } 0 .. 80);
    $pb .= series_pb({ __name__ => 'info', job => 'api', instance => "h$i",
        version => "v$i" }, [$ms, 1]);
    for (['0.1', 1], ['0.5', 3], ['1', 4], ['+Inf', 4]) {
        my ($le, $k) = @$_;
        $pb .= series_pb({ __name__ => 'lat_bucket', instance => "h$i",
            le => $le }, map { [$ms - 1200_000 + $_ * 15_000, $_ * $k] } 0 .. 80);
    }
}
my %special = (nan => 0x7ff8000000000001, inf => 0x7ff0000000000000,
    ninf => 0xfff0000000000000, nzero => 0x8000000000000000, tiny => 1,
    e21 => 0x444b1ae4d6e2ef50, tenth => 0x3fb999999999999a);
for my $k (sort keys %special) {
    $pb .= series_pb({ __name__ => 'special', k => $k },
        [$ms, \pack('Q<', $special{$k})]);
}
$pb .= series_pb({ __name__ => 'html', k => "<a href=\"x\">&\\ \x01\x7f\x{e9}\t" },
    [$ms, 1]);
is($t->write_pb($pb)->{status}, 204, 'the data');

# ---- answers, byte for byte ----

sub get {
    my ($path, %p) = @_;
    return $t->http('GET', "$path?" . form(%p));
}

sub post {
    my ($path, %p) = @_;
    return $t->http('POST', $path, body => form(%p), headers =>
        { 'Content-Type' => 'application/x-www-form-urlencoded' });
}

sub vector_of { return '{"status":"success","data":{"resultType":"vector","result":['
    . join(',', @_) . ']}}' }
sub scalar_at { return '{"status":"success","data":{"resultType":"scalar",'
    . "\"result\":[$_[0],\"$_[1]\"]}}" }

my @exact = (
    # scalars are plain, their times drop zeros
    ['1e21', '1.230', scalar_at('1.23', '1000000000000000000000')],
    ['0.1+0.2', 5, scalar_at(5, '0.30000000000000004')],
    ['-Inf', 5, scalar_at(5, '-Inf')],
    ['NaN', '-1.5', scalar_at('-1.5', 'NaN')],
    ['1e-7', 5, scalar_at(5, '0.0000001')],
    ['-0', 5, scalar_at(5, '-0')],
    ['time()', '1.001', scalar_at('1.001', '1.001')],
    ['vector(1)', '1.23', vector_of('{"metric":{},"value":[1.230,"1"]}')],
    ['vector(1e21)', 5, vector_of('{"metric":{},"value":[5,"1e+21"]}')],
    ['vector(1e-7)', 5, vector_of('{"metric":{},"value":[5,"1e-07"]}')],
    ['vector(123456789)', 5, vector_of('{"metric":{},"value":[5,"123456789"]}')],
    ['"a<b>\u2028"', 5, '{"status":"success","data":{"resultType":"string",'
        . '"result":[5,"a\u003cb\u003e\u2028"]}}'],
    ['nothing', $now, vector_of()],
    ['req_total{instance="h1"}', $now, vector_of('{"metric":{"__name__":"req_total",'
        . "\"instance\":\"h1\",\"job\":\"api\"},\"value\":[$now,\"480\"]}")],
    ['special{k="nan"}', $now, vector_of('{"metric":{"__name__":"special","k":"nan"},'
        . "\"value\":[$now,\"NaN\"]}")],
    ['special{k="nzero"}', $now, vector_of('{"metric":{"__name__":"special",'
        . "\"k\":\"nzero\"},\"value\":[$now,\"-0\"]}")],
    ['special{k="tiny"}', $now, vector_of('{"metric":{"__name__":"special",'
        . "\"k\":\"tiny\"},\"value\":[$now,\"5e-324\"]}")],
    ['html', $now, vector_of('{"metric":{"__name__":"html",'
        . "\"k\":\"<a href=\\\"x\\\">&\\\\ \\u0001\x7f\xc3\xa9\\t\"},"
        . "\"value\":[$now,\"1\"]}")],
    ['sum by (job) (rate(req_total[5m]))', $now,
        vector_of("{\"metric\":{\"job\":\"api\"},\"value\":[$now,\"1.2\"]}")],
    ['sort_desc(increase(req_total[1m]))', $now, vector_of(map {
        "{\"metric\":{\"instance\":\"h$_\",\"job\":\"api\"},\"value\":[$now,\""
        . 12 * ($_ + 1) . '"]}' } 2, 1, 0)],
    ['histogram_quantile(0.5, sum by (le) (rate(lat_bucket[5m])))', $now,
        vector_of("{\"metric\":{},\"value\":[$now,\"0.30000000000000004\"]}")],
    ['req_total{instance="h0"} * on(instance) group_left(version) info', $now,
        vector_of('{"metric":{"instance":"h0","job":"api","version":"v0"},'
        . "\"value\":[$now,\"240\"]}")],
    ['max_over_time(sum(rate(req_total[1m]))[10m:1m] offset 1m)', $now,
        vector_of("{\"metric\":{},\"value\":[$now,\"1.2\"]}")],
    ['req_total{instance="h0"}[30s]', $now,
        '{"status":"success","data":{"resultType":"matrix","result":[{"metric":'
        . '{"__name__":"req_total","instance":"h0","job":"api"},"values":[['
        . ($now - 15) . ",\"237\"],[$now,\"240\"]]}]}}"],
    ['label_replace(info{instance="h0"}, "v", "$1", "version", "(.*)")', $now,
        vector_of('{"metric":{"__name__":"info","instance":"h0","job":"api","v":"v0",'
        . "\"version\":\"v0\"},\"value\":[$now,\"1\"]}")],
    ['topk(2, req_total)', $now, vector_of(map {
        "{\"metric\":{\"__name__\":\"req_total\",\"instance\":\"h$_\","
        . "\"job\":\"api\"},\"value\":[$now,\"" . 240 * ($_ + 1) . '"]}' } 2, 1)],
);
for my $case (@exact) {
    my ($query, $time, $json) = @$case;
    my $r = get('/api/v1/query', query => $query, time => $time);
    is($r->{status}, 200, "$query: 200");
    is($r->{body}, $json, $query);
    is(post('/api/v1/query', query => $query, time => $time)->{body}, $json,
        "$query, by POST");
}

my @range = (start => $now - 60, end => $now, step => 30);
my $matrix = '{"status":"success","data":{"resultType":"matrix","result":['
    . join(',', map { my $i = $_;
        "{\"metric\":{\"__name__\":\"req_total\",\"instance\":\"h$i\","
        . '"job":"api"},"values":['
        . join(',', map { my $at = $now - 60 + 30 * $_;
            "[$at,\"" . (76 + 2 * $_) * 3 * ($i + 1) . '"]' } 0 .. 2)
        . ']}' } 0 .. 2) . ']}}';
for my $how (\&get, \&post) {
    is($how->('/api/v1/query_range', query => 'req_total', @range)->{body},
        $matrix, 'range query');
}
is(get('/api/v1/query_range', query => '1', start => 1.25, end => 2,
    step => 0.25)->{body}, '{"status":"success","data":{"resultType":"matrix",'
    . '"result":[{"metric":{},"values":[[1.250,"1"],[1.500,"1"],[1.750,"1"],'
    . '[2,"1"]]}]}}', 'times of a range have three decimals or none');

is($t->http('POST', '/api/v1/query?query=1&time=5', body => 'query=2',
    headers => { 'Content-Type' => 'application/x-www-form-urlencoded' })
    ->{body}, scalar_at(5, '2'), 'the body wins over the query string');
is($t->http('POST', '/api/v1/query?query=1&time=5', body => 'query=2',
    headers => { 'Content-Type' => 'text/plain' })->{body}, scalar_at(5, '1'),
    'a body that is no form is not read');
is(get('/prom/deep/api/v1/query', query => '1', time => 5)->{body},
    scalar_at(5, '1'), 'a store below a longer prefix');
is(get('/look/query', query => 'count(req_total)', time => $now + 9)->{body},
    vector_of('{"metric":{},"value":[' . ($now + 9) . ',"3"]}'), 'nightlight_lookback');
is(get('/look/query', query => 'count(req_total)', time => $now + 11)->{body},
    vector_of(), 'and behind it');
is(get('/look/query', query => 'count(req_total)', time => $now + 11,
    lookback_delta => '1m')->{body},
    vector_of('{"metric":{},"value":[' . ($now + 11) . ',"3"]}'), 'lookback_delta');

# annotations
is(get('/api/v1/query', query => 'quantile(1.5, vector(1))', time => 5)->{body},
    '{"status":"success","data":{"resultType":"vector","result":[{"metric":{},'
    . '"value":[5,"+Inf"]}]},"warnings":["PromQL warning: quantile value '
    . 'should be between 0 and 1, got 1.5 (1:10)"]}', 'a warning');
# experimental parts are off unless asked for
like(get('/api/v1/query', query => 'limitk(1, req_total)', time => $now)->{body},
    qr/limitk\(\) is experimental and must be enabled/, 'features are off');
is(get('/all/query', query => 'count(limitk(1, req_total))', time => $now)
    ->{status}, 200, 'nightlight_promql_features all');

# ---- limits ----

{
    my $pb = '';
    for my $i (1 .. 2000) {
        $pb .= series_pb({ __name__ => 'wide', i => $i, pad => 'x' x 50 },
            map { [$ms - $_ * 10_000, $i + $_] } reverse 0 .. 29);
    }
    is($t->write_pb($pb)->{status}, 204, '2000 series of 30 samples');
}

is(get('/api/v1/query', query => 'count(rate(wide[5m]))', time => $now)->{body},
    '{"status":"success","data":{"resultType":"vector","result":[{"metric":{},'
    . "\"value\":[$now,\"2000\"]}]},\"infos\":[\"PromQL info: metric might not "
    . 'be a counter, name does not end in _total/_sum/_count/_bucket: \\"wide\\"'
    . ' (1:12)"]}', 'an info');

my $slow = 'sum(quantile_over_time(0.5, rate(wide[2m])[4m:1s]))';
my @slow = (query => $slow, start => $now - 3000, end => $now + 3000, step => 1);

my $r = get('/few/query', query => 'wide', time => $now);
is($r->{status}, 422, 'nightlight_query_max_samples: 422');
is($r->{body}, '{"status":"error","errorType":"execution","error":"query '
    . 'processing would load too many samples into memory in query execution '
    . '(nightlight_query_max_samples is 1000)"}',
    'nightlight_query_max_samples: text');
is(get('/few/query', query => 'req_total', time => $now)->{status}, 200,
    'and a query below it');

$r = get('/narrow/query', query => 'count(wide)', time => $now);
is($r->{status}, 422, 'nightlight_query_max_series: 422');
is($r->{body}, '{"status":"error","errorType":"execution","error":"query '
    . 'selects too many series (nightlight_query_max_series is 1000)"}',
    'nightlight_query_max_series: text');
is(get('/narrow/query', query => 'count(wide{i=~"[1-9].."}) + count(wide{i="7"})',
    time => $now)->{status}, 200, 'and a query below it');
is(get('/narrow/query', query => 'count(wide{i=~"[1-9].."}) + '
    . 'count(wide{i=~"[1-9].."})', time => $now)->{status}, 422,
    'all selectors count together');

$r = get('/small/query_range', query => 'wide + wide', start => $now - 300,
    end => $now, step => 1);
is($r->{status}, 422, 'nightlight_query_memory: 422');
like($r->{body}, qr/"errorType":"execution".*nightlight_query_memory/,
    'nightlight_query_memory: text');
is(get('/small/query', query => 'req_total', time => $now)->{status}, 200,
    'and a query below it');

my $from = time();
$r = get('/short/query_range', @slow);
is($r->{status}, 503, 'nightlight_query_timeout: 503');
# a busy machine may need the time before it evaluates anything
like($r->{body}, qr/^\{"status":"error","errorType":"timeout","error":"query timed out in (expression evaluation|query execution) \(nightlight_query_timeout is 100ms\)"\}$/,
    'nightlight_query_timeout: text');
cmp_ok(time() - $from, '<', 3, 'nightlight_query_timeout: in time');
$r = get('/api/v1/query_range', @slow, timeout => '100ms');
is($r->{status}, 503, 'timeout parameter: 503');
like($r->{body}, qr/ \(timeout is 100ms\)"/, 'timeout parameter: text');
is(get('/short/query', query => '1')->{status}, 200, 'and a short query');
$r = get('/short/query', query => '1', timeout => '1h');
is($r->{status}, 200, 'the parameter cannot lengthen it');

# ---- where the time went ----

{
    my $sec = qr/[0-9]+(?:\.[0-9]+)?(?:e-[0-9]+)?/;
    my $body = get('/api/v1/query_range', query => 'rate(req_total[2m])',
        start => $now - 60, end => $now, step => 30, stats => 'all')->{body};
    like($body, qr/"stats":\{"timings":\{"evalTotalTime":$sec,"resultSortTime"
        :$sec,"queryPreparationTime":$sec,"innerEvalTime":$sec,
        "execQueueTime":$sec,"execTotalTime":$sec\},"samples":\{
        "totalQueryableSamples":\d+,"samplesRead":\d+,"peakSamples":\d+\}\}\}
        \}/x, 'stats');
    my %t = map { my ($v) = $body =~ /"$_":([\d.e-]+)/; ($_ => $v) } qw(evalTotalTime
        resultSortTime queryPreparationTime innerEvalTime execQueueTime
        execTotalTime);
    cmp_ok($t{queryPreparationTime} + $t{innerEvalTime} + $t{resultSortTime},
        '<=', $t{evalTotalTime} * 1.000001, 'parts of the evaluation');
    cmp_ok($t{innerEvalTime}, '>', 0, 'it takes time');
    cmp_ok(abs($t{evalTotalTime} + $t{execQueueTime} - $t{execTotalTime}), '<',
        1e-6, 'waiting and evaluating are all of it');
    unlike(get('/api/v1/query', query => '1', time => 5)->{body}, qr/stats/,
        'no stats unless asked for');
}

# ---- clients that leave ----

sub queries_running {
    # threads of the workers that do something just now
    my $n = 0;
    for my $pid ($t->workers()) {
        for my $stat (glob "/proc/$pid/task/*/stat") {
            next if $stat =~ m{/task/$pid/};
            $n++ if $t->read_file($stat) =~ /^\d+ \(.*\) R /;
        }
    }
    return $n;
}

{
    my @conns = map {
        my $s = $t->connect();
        Nightlight::Test::send_all($s, Nightlight::Test::request_bytes('GET',
            '/api/v1/query_range?' . form(@slow)));
        $s;
    } 1 .. 60;
    ok($t->wait_for(sub { queries_running() > 0 }, 'queries at work'),
        '60 slow queries are at work');
    close $_ for @conns;
    my $from = time();
    is(get('/api/v1/query', query => 'vector(1)', time => 5)->{status}, 200,
        'served after they have left');
    cmp_ok(time() - $from, '<', 2 * $Nightlight::Test::SLOW, 'at once');
    ok($t->wait_for(sub { queries_running() == 0 }, 'threads idle', 5),
        'no thread works for nobody');
}
{
    # the same by reset, and by POST
    my @conns = map {
        my $s = $t->connect();
        Nightlight::Test::send_all($s, Nightlight::Test::request_bytes('POST',
            '/api/v1/query_range', { 'Content-Type' =>
            'application/x-www-form-urlencoded' }, form(@slow)));
        setsockopt($s, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
            pack('ii', 1, 0));
        $s;
    } 1 .. 20;
    ok($t->wait_for(sub { queries_running() > 0 }, 'queries at work'),
        '20 slow queries by POST');
    close $_ for @conns;
    ok($t->wait_for(sub { queries_running() == 0 }, 'threads idle', 5),
        'are given up too');
}

# a quick query is not held up by what one core can do beside
{
    my @conns = map {
        my $s = $t->connect();
        Nightlight::Test::send_all($s, Nightlight::Test::request_bytes('GET',
            '/api/v1/query_range?' . form(@slow, timeout => '20s')));
        $s;
    } 1 .. 2;
    $t->wait_for(sub { queries_running() > 0 }, 'queries at work');
    my $from = time();
    is($t->write({ __name__ => 'beside' }, [$ms, 1]), 204,
        'a write beside slow queries');
    is($t->http('GET', '/-/ready')->{status}, 200, 'ready beside slow queries');
    cmp_ok(time() - $from, '<', 2 * $Nightlight::Test::SLOW, 'at once');
    close $_ for @conns;
}

# ---- large answers ----

{
    my %p = (query => 'wide', start => $now - 290, end => $now, step => 1);
    my $whole = get('/api/v1/query_range', %p);
    is($whole->{status}, 200, 'a large answer');
    cmp_ok(length $whole->{body}, '>', 8 << 20, 'of more than 8 MB');
    my @series = split(/\{"metric":/, $whole->{body});
    is(@series - 1, 2000, 'has all series');
    is(scalar(grep { (() = /\[\d+,"\d+"\]/g) != 291 } @series[1 .. $#series]),
        0, 'with all points');

    # a slow reader gets the same bytes, and holds nobody up
    my $s = $t->connect();
    setsockopt($s, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 65536);
    Nightlight::Test::send_all($s, Nightlight::Test::request_bytes('GET',
        '/api/v1/query_range?' . form(%p)));
    my ($data, $reads, $others) = ('', 0, 0);
    while (1) {
        my $n = sysread($s, $data, $reads < 200 ? 2048 : 1 << 20, length $data);
        last unless $n;
        $others += get('/api/v1/query', query => '1', time => 5)->{status} == 200
            if ++$reads % 20 == 0 && $reads <= 200;
    }
    is($others, 10, 'others are served beside a slow reader');
    ok(Nightlight::Test::parse_response($data)->{body} eq $whole->{body},
        'the slow reader gets the same');

    # readers that stop half way
    for (1 .. 10) {
        my $s = $t->connect();
        Nightlight::Test::send_all($s, Nightlight::Test::request_bytes('GET',
            '/api/v1/query_range?' . form(%p)));
        my $part;
        sysread($s, $part, 1000);
        close $s;
    }
    is(get('/api/v1/query', query => '1', time => 5)->{body}, scalar_at(5, '1'),
        'served after readers that stopped half way');
}

cmp_ok($t->metric('nightlight_queries_total'), '>', 100, 'queries are counted');
cmp_ok($t->metric('nightlight_query_errors_total'), '>=', 4,
    'and failed ones');
is(scalar $t->workers(), 2, 'two workers');
is(scalar $t->log_lines(qr/exited on signal/), 0, 'no worker has died');

$t->done();
