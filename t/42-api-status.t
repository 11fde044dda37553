#!/usr/bin/perl
# status/...: what the store says of its configuration, its head and blocks.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;

*series_pb = \&Nightlight::Test::series_pb;
*form = \&Nightlight::Test::form;

my $t = Nightlight::Test->new();
my $dir = $t->dir;

sub conf {
    $t->write_conf(store => 'memory=48m retention=10y retention_size=5g '
        . 'min_free=1m wal_sync=always', main =>
        "worker_processes 1; thread_pool default threads=1; # $_[0]",
        locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /api/v1/admin/  { nightlight_admin main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location /other/api/v1/ {
            nightlight_query main;
            nightlight_query_timeout 90s;
            nightlight_query_max_samples 7;
            nightlight_query_max_series 6;
            nightlight_query_memory 65537;
            nightlight_lookback 1500ms;
            nightlight_promql_features all;
        }
EOL
}
conf('');

my $before = int(time());
$t->run();

sub status { my ($what, $prefix) = @_;
    return $t->http('GET', ($prefix || '') . "/api/v1/status/$what")->{body} }

sub is_data { my ($got, $data, $what) = @_;
    is($got, "{\"status\":\"success\",\"data\":$data}", $what) }

# ---- config and flags: the directives ----

my $store = 'nightlight_store:\n  name: \"main\"\n  path: \"' . "$dir/store"
    . '\"\n  head: \"' . "$dir/head" . '\"\n  memory: 48m\n  retention: 10y\n'
    . '  retention_size: 5g\n  min_free: 1m\n  wal_sync: always\n'
    . '  block_format: ' . ($t->dense() ? 'dense' : 'portable') . '\n';
is_data(status('config'), "{\"yaml\":\"$store" . 'nightlight_query_timeout: '
    . '2m\nnightlight_query_max_samples: 50000000\nnightlight_query_max_series: '
    . '5000000\nnightlight_query_memory: 256m\nnightlight_lookback: 5m\n'
    . 'nightlight_promql_features: [duration-expr]\n"}', 'config: defaults');
is_data(status('config', '/other'), "{\"yaml\":\"$store"
    . 'nightlight_query_timeout: 1m30s\nnightlight_query_max_samples: 7\n'
    . 'nightlight_query_max_series: 6\nnightlight_query_memory: 65537\n'
    . 'nightlight_lookback: 1s500ms\nnightlight_promql_features: ['
    . 'binop-fill-modifiers, delayed-name-removal, duration-expr, '
    . 'experimental-functions, extended-range-selectors]\n"}',
    'config: of another location');
my $ncpu = $t->api('status/runtimeinfo')->{data}{GOMAXPROCS};
is_data(status('flags'), '{"config.file":"' . "$dir/nginx.conf"
    . '","enable-feature":"promql-duration-expr","query.lookback-delta":"5m",'
    . '"query.max-concurrency":"' . ($ncpu + 1) . '","query.max-samples":'
    . '"50000000","query.timeout":"2m","storage.tsdb.path":"' . "$dir/store"
    . '","storage.tsdb.retention.size":"5GiB",'
    . '"storage.tsdb.retention.time":"10y"}', 'flags');
my $buildinfo = $t->api('status/buildinfo')->{data};
like($buildinfo->{version}, qr/^3\.\d+\.\d+$/, 'buildinfo');
ok(!exists $buildinfo->{features}, 'and no features, which would mean Mimir');

# ---- runtimeinfo ----

sub runtime {
    my $body = status('runtimeinfo');
    my $time = qr/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d*[1-9])?Z)/;
    like($body, qr/^\{"status":"success","data":\{"startTime":"$time","CWD":"
        \Q$dir\E","hostname":"[^"]+","serverTime":"$time",
        "reloadConfigSuccess":true,"lastConfigTime":"$time","corruptionCount":0,
        "goroutineCount":0,"GOMAXPROCS":\d+,"GOMEMLIMIT":50331648,"GOGC":"",
        "GODEBUG":"","storageRetention":"10y\ or\ 5GiB"\}\}$/x, 'runtimeinfo');
    return $body =~ /Time":"([^"]+)/g;
}

# A time as the API takes it, in seconds.
sub seconds { my ($rfc) = @_;
    return $t->query('time()', time => $rfc)->{result}[1] }

my ($start, $server, $config) = runtime();
cmp_ok(seconds($start), '>=', $before, 'it began after we did');
cmp_ok(seconds($server), '>=', seconds($start), 'and it is later now');
is($config, $start =~ s/\.\d+//r, 'its configuration is as old');
$t->wait_for(sub { time() > $before + 2 }, 'another second');
conf('again');
$t->reload();
my ($start2, undef, $config2) = runtime();
is($start2, $start, 'a reload is no start');
cmp_ok(seconds($config2), '>', seconds($config), 'but a configuration');

# ---- walreplay, notifications, features ----

is_data(status('walreplay'), '{"min":0,"max":0,"current":0}', 'walreplay');
my $f = $t->api('features')->{data};
is_deeply([sort keys %$f], [qw(api promql promql_functions promql_operators
    tsdb)], 'features: categories');
is_deeply([map { $_ ? 1 : 0 } @{$f->{promql}}{qw(anchored bool duration_expr)},
    @{$f->{promql_functions}}{qw(rate info)}, $f->{promql_operators}{limitk}],
    [0, 1, 1, 1, 0, 0], 'what is on');
my $all = Nightlight::Test->can('http')->($t, 'GET', '/other/api/v1/features')
    ->{body};
like($all, qr/"anchored":true,.*"info":true,.*"limitk":true/, 'all on');
unlike($all, qr/\{,|,\}|,,/, 'no odd commas');

# ---- self_metrics ----

my $self = $t->api('status/self_metrics')->{data};
my %self = map { $_->{name} => $_ } @$self;
is($self{nightlight_ready}{metric}[0]{gauge}{value}, 1, 'self_metrics: gauge');
is($self{nightlight_ready}{type}, 'GAUGE', 'is one');
is($self{nightlight_queries_total}{type}, 'COUNTER', 'a counter');
my $names = join ' ', sort keys %self;
is($names, join(' ', sort $t->http('GET', '/metrics')->{body}
    =~ /^# TYPE (\S+)/mg), 'as many as /metrics has');
is_deeply([map { $_->{name} } @{$t->api('status/self_metrics',
    metric_name_pattern => 'nightlight_(up|read.*)')->{data}}],
    [qw(nightlight_up nightlight_ready)], 'by a pattern');
is($t->api('status/self_metrics', metric_name_pattern => '(')->{raw},
    '{"status":"error","errorType":"bad_data","error":"invalid '
    . 'metric_name_pattern: error parsing regexp: missing closing ): `(`"}',
    'a wrong one');

# ---- tsdb: the head ----

is_data(status('tsdb'), '{"headStats":{"numSeries":0,"numLabelPairs":0,'
    . '"chunkCount":0,"minTime":9223372036854775807,'
    . '"maxTime":-9223372036854775808},' . join(',', map { "\"$_\":[]" } qw(
    seriesCountByMetricName labelValueCountByLabelName
    memoryInBytesByLabelName seriesCountByLabelValuePair)) . '}',
    'tsdb: an empty head');
for my $limit (qw(0 -1 x 1.5 9223372036854775808)) {
    is(status("tsdb?limit=$limit"), '{"status":"error","errorType":"bad_data",'
        . '"error":"limit must be a positive number"}', "limit $limit");
}
is(status('tsdb?limit=10001'), '{"status":"error","errorType":"bad_data",'
    . '"error":"limit must not exceed 10000"}', 'limit 10001');
my $now = int(time() / 60) * 60_000;
my $long = 'v' x 300;
my $pb = series_pb({ __name__ => 'up', 'x=y' => '"<' }, [$now, 2])
    . series_pb({ __name__ => 'up', l => $long }, [$now, 2]);
$pb .= series_pb({ __name__ => 'temp', job => 'api', i => "h$_" },
    [$now - 60_000, 1], [$now, 2]) for 0 .. 3;
is($t->write_pb($pb)->{status}, 204, 'samples');
my $head = '{"numSeries":6,"numLabelPairs":9,"chunkCount":6,"minTime":'
    . ($now - 60_000) . ",\"maxTime\":$now}";
sub list { my ($name, @l) = @_;
    my @v;
    push @v, '{"name":"' . shift(@l) . '","value":' . shift(@l) . '}' while @l;
    return "\"$name\":[" . join(',', @v) . ']' }
is_data(status('tsdb'), "{\"headStats\":$head," . join(',',
    list('seriesCountByMetricName', temp => 4, up => 2),
    list('labelValueCountByLabelName', i => 4, __name__ => 2, job => 1, l => 1,
        'x=y' => 1),
    list('memoryInBytesByLabelName', l => 306, __name__ => 80, job => 32,
        i => 20, 'x=y' => 7),
    list('seriesCountByLabelValuePair', '__name__=temp' => 4, 'job=api' => 4,
        '__name__=up' => 2, (map { ("i=h$_" => 1) } 0 .. 3), "l=$long" => 1,
        'x=y=\"\u003c' => 1)) . '}', 'tsdb: series, pairs and bytes');
is_data(status('tsdb?limit=1'), "{\"headStats\":$head," . join(',',
    list('seriesCountByMetricName', temp => 4),
    list('labelValueCountByLabelName', i => 4),
    list('memoryInBytesByLabelName', l => 306),
    list('seriesCountByLabelValuePair', '__name__=temp' => 4)) . '}',
    'a limit');

# ---- blocks ----

is_data(status('tsdb/blocks'), '{"blocks":[]}', 'no blocks');
is($t->http('POST', '/-/flush')->{status}, 204, 'flush');
$t->wait_for(sub { glob "$dir/store/blocks/*/meta.json" }, 'a block');
my $blocks;
$t->wait_for(sub { $blocks = $t->api('status/tsdb/blocks'); $blocks->{raw} =~ /ulid/ },
    'it is listed');
my ($file) = glob "$dir/store/blocks/*/meta.json";
my $meta = JSON::PP->new->decode($t->read_file($file));
is($meta->{version}, $t->dense() ? 128 : 1, 'of a version for its format');
delete $meta->{nightlight};
delete $meta->{stats}{$_} for grep { !$meta->{stats}{$_} } keys %{$meta->{stats}};
is_deeply($blocks->{data}{blocks}, [$meta], 'as its meta.json has it');
like($blocks->{raw}, qr/^\{"status":"success","data":\{"blocks":\[\{"ulid":"\w+",
    "minTime":\d+,"maxTime":\d+,"stats":\{"numSamples":10,"numFloatSamples":10,
    "numSeries":6,"numChunks":6\},"compaction":\{"level":1,"sources":\["\w+"\]\},
    "version":(?:1|128)\}\]\}\}$/x, 'in this form');
is($t->write_pb(series_pb({ __name__ => 'temp', job => 'api', i => 'h0' },
    [$now + 1000, 1]))->{status}, 204, 'the next arena');
is($t->api('status/tsdb')->{data}{headStats}{numSeries}, 1,
    'what is in blocks has left the head');

# ---- who counts does not keep others waiting ----

# The only thread is at a query that goes on until its client leaves.
is($t->write(map { ({ __name__ => 'm', i => $_ }, map { [$now - $_ * 10_000, 1] }
    reverse 0 .. 60) } 1 .. 200), 204, 'something to do');
my $heavy = $t->connect();
Nightlight::Test::send_all($heavy, Nightlight::Test::request_bytes('GET',
    '/api/v1/query_range?' . form(query => 'sum(sum_over_time((m * m)[9m:1s]))',
        start => $now / 1000 - 60, end => $now / 1000, step => '0.01')));
my @waiting = map { my $s = $t->connect();
    Nightlight::Test::send_all($s, Nightlight::Test::request_bytes('GET',
        "/api/v1/status/$_")); $s } 'tsdb', 'tsdb/blocks';
for my $path (qw(status/config status/flags status/runtimeinfo features
    status/walreplay status/self_metrics status/buildinfo targets))
{
    is($t->http('GET', "/api/v1/$path", timeout => 20)->{status}, 200,
        "$path is answered meanwhile");
}
my $bits = '';
vec($bits, fileno($_), 1) = 1 for @waiting;
is(select($bits, undef, undef, 0), 0, 'the counting ones wait for the thread');
close $heavy;
for my $s (@waiting) {
    is(Nightlight::Test::read_response($s)->{status}, 200,
        'and are answered when it is free');
}

# ---- a store that is not ready says what it can ----

$t->stop();
unlink glob("$dir/head/*");
{
    open(my $f, '>', "$dir/store/MANIFEST") or die;
    print $f "not a manifest\n";
    close $f;
}
$t->run(ready => 0);
$t->wait_for(sub { my $r = eval { $t->http('GET', '/-/ready') };
    $r && $r->{body} =~ /MANIFEST/ }, 'not ready');
is($t->http('GET', "/api/v1/$_")->{status}, 200, "$_ is answered") for
    qw(status/config status/flags status/runtimeinfo status/buildinfo features
    status/walreplay status/self_metrics rules alerts targets format_query?query=1
    parse_query?query=1);
for my $path (qw(status/tsdb status/tsdb/blocks labels query?query=1
    label/job/values series?match[]=a))
{
    my $r = $t->http('GET', "/api/v1/$path");
    is($r->{status}, 503, "$path is not");
    like($r->{body}, qr/^\{"status":"error","errorType":"unavailable","error":"
        store\ is\ not\ ready:\ [^"]+"\}$/x, 'and says why');
    is($r->{headers}{'retry-after'}, 1, 'and when to come again');
}
is($t->http('GET', '/api/v1/status/tsdb?limit=0')->{status}, 400,
    'mistakes are told first');

$t->done();
