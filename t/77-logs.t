#!/usr/bin/perl
# What logs tell of requests: $nightlight_* in the access log, also of those
# that failed or were left by their clients, and the log of slow queries.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my $t = Nightlight::Test->new();
my $now = int(time());
$t->write_conf(http => <<'EOF', locations => <<'EOF');
    log_format nl '$request_method $uri $status store=$nightlight_store '
        'tenant=$nightlight_tenant outcome=$nightlight_outcome '
        'samples=$nightlight_samples series=$nightlight_series '
        'decoded=$nightlight_decoded_bytes read=$nightlight_samples_read '
        'memory=$nightlight_query_memory ms=$nightlight_query_ms '
        'queue=$nightlight_queue_ms cancelled=$nightlight_cancelled';
    access_log %%TESTDIR%%/nl.log nl;
EOF
        error_page 503 /sorry;
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main;
                                   nightlight_query_timeout 20s; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location = /sorry        { return 503 sorry; }
        location /short/         { nightlight_query main;
                                   nightlight_query_timeout 1ms; }
        location /slow/          { nightlight_query main;
                                   nightlight_slow_query 0 %%TESTDIR%%/slow.log;
            location /slow/error/ { nightlight_query main;
                                    nightlight_slow_query 0; }
            location /slow/off/  { nightlight_query main;
                                   nightlight_slow_query off; }
            location /slow/same/ { nightlight_query main; }
            location /slow/hour/ { nightlight_query main;
                                   nightlight_slow_query 1h; }
        }
EOF
$t->run();

# Minutes of work, in some MB.
my @LONG = (query => 'sum(sum_over_time((n * n)[9m:1s]))',
    start => $now - 86400, end => $now, step => 10);

sub post { my ($uri, %p) = @_;
    return $t->http('POST', $uri, body => Nightlight::Test::form(%p),
        headers => { 'Content-Type' => 'application/x-www-form-urlencoded' }) }
sub get { my ($uri, %p) = @_;
    return $t->http('GET', "$uri?" . Nightlight::Test::form(%p)) }

# The fields of the line that a request has added to a log.
my %lines;
sub line {
    my ($log, $re) = @_;
    my $line;
    $t->wait_for(sub {
        my @l = grep { /$re/ } split /\n/, $t->read_file($log);
        $line = $l[$lines{$log, $re} || 0];
        return defined $line;
    }, "a line in $log") or return { line => '' };
    $lines{$log, $re}++;
    my %f;
    while ($line =~ /(\w+)=("(?:[^"\\]|\\.)*"|[^\s,]+)/g) {
        $f{$1} = $2 unless exists $f{$1};
    }
    return { line => $line, %f };
}

my %write = (read => '-', memory => '-', ms => '-', queue => '-',
    tenant => '-', store => 'main');
my %query = (samples => '-', decoded => '-', tenant => '-', store => 'main');

# All fields that are given are in the line.
sub has {
    my ($line, $want, $what) = @_;
    is_deeply({ map { $_ => $line->{$_} } keys %$want }, $want, $what)
        or diag($line->{line});
}

# ---- writes ----

my @many = map { { __name__ => 'n', i => $_ } } 1 .. 30;
is($t->write(map { ($_, [($now - 60) * 1000, 1]) } @many), 204, 'series');
line('nl.log', qr{^POST /api/v1/write });
is($t->write({ __name__ => 'm', i => 1 }, [$now * 1000, 1],
    [$now * 1000 + 1, 2], { __name__ => 'm', i => 2 }, [$now * 1000, 1]),
    204, 'a write');
my $l = line('nl.log', qr{^POST /api/v1/write });
has($l, { %write, outcome => 'ok', samples => 3, series => 2,
    cancelled => 0 }, 'a write: its line');
cmp_ok($l->{decoded}, '>', 40, 'bytes decoded');
is($t->write({ __name__ => 'm', i => 1 }, [$now * 1000 + 1, 7]), 400,
    'a write that is refused');
has(line('nl.log', qr{^POST /api/v1/write }), { %write, outcome => 'refused',
    samples => 0, cancelled => 0 }, 'its line');
is($t->write_raw('x', headers => { 'Content-Encoding' => 'gzip' })->{status},
    415, 'another encoding');
has(line('nl.log', qr{^POST /api/v1/write 415}), { %write, samples => '-',
    series => '-', decoded => '-', outcome => 'refused' }, 'its line');

# ---- queries ----

is(get('/api/v1/query', query => 'm', time => $now + 1)->{status}, 200,
    'a query');
$l = line('nl.log', qr{^GET /api/v1/query });
has($l, { %query, outcome => 'ok', read => 2, series => 2, cancelled => 0 },
    'its line');
like($l->{$_}, qr/^\d+\.\d{3}$/, "$_ is in milliseconds") for qw(ms queue);
cmp_ok($l->{memory}, '>', 100, 'memory');
is(get('/api/v1/query', query => '(')->{status}, 400, 'a wrong query');
has(line('nl.log', qr{^GET /api/v1/query 400}), { %query, read => 0,
    outcome => 'bad_data', cancelled => 0 }, 'its line');
is($t->api_post('query', query => 'm')->{code}, 200, 'by POST');
has(line('nl.log', qr{^POST /api/v1/query }), { %query, read => 2,
    outcome => 'ok' }, 'its line');
is(get('/short/query_range', @LONG)->{status}, 503, 'a timeout');
has(line('nl.log', qr{^GET (?!/-/)\S+ 503}), { %query,
    outcome => 'timeout', cancelled => 0 },
    'its line, of which error_page knows too');
is($t->http('GET', '/-/healthy')->{status}, 200, 'healthy');
has(line('nl.log', qr{^GET /-/healthy }), { %query, series => '-',
    read => '-', memory => '-', ms => '-', queue => '-', outcome => 'ok',
    cancelled => 0 }, 'its line');
is($t->http('HEAD', '/-/ready')->{status}, 200, 'HEAD');
has(line('nl.log', qr{^HEAD }), { outcome => 'ok', cancelled => 0 },
    'is no client that left');

# a client that does not wait for its answer
my $s = $t->connect();
Nightlight::Test::send_all($s, Nightlight::Test::request_bytes('GET',
    '/api/v1/query_range?' . Nightlight::Test::form(@LONG)));
ok($t->wait_for(sub { $t->metric('nightlight_queries_running') == 1 },
    'it runs'), 'a long query runs');
close $s;
$l = line('nl.log', qr{^GET /api/v1/query_range 499});
has($l, { %query, outcome => 'canceled', cancelled => 1 },
    'the client left: its line');
cmp_ok($l->{ms}, '>', 0, 'and what it has cost');
ok($t->wait_for(sub { $t->metric('nightlight_queries_running') == 0 },
    'nothing runs'), 'and it has ended');

# a write whose body never comes to its end
$s = $t->connect();
Nightlight::Test::send_all($s, "POST /api/v1/write HTTP/1.1\r\nHost: x\r\n"
    . "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n"
    . "Content-Length: 100\r\n\r\nabc");
$s->close();
has(line('nl.log', qr{^POST /api/v1/write 4(?:99|00) .*samples=-}),
    { %write, samples => '-' }, 'a body that was cut off');

# ---- slow queries: a file ----

my $slow = $t->metric('nightlight_slow_queries_total');
my $text = "count(m{i!=\"\\\\\"})\n# a remark\t\x{1b}[31m";
is(get('/slow/query', query => $text, time => $now)->{status}, 200, 'slow');
$l = line('slow.log', qr{path="query"});
like($l->{line}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d client=127\.0/,
    'a line with its time and client');
has($l, { outcome => 'ok', samples => 2, series => 2, store => 'main',
    time => "\"$now\"",
    query => '"count(m{i!=\"\\\\\\\\\"})\x0A# a remark\x09\x1B[31m"' },
    'and the query on one line');
like($l->{$_}, qr/^\d+\.\d{3}$/, "$_: seconds") for qw(seconds queue);
like($l->{memory}, qr/^[1-9]\d+$/, 'memory');
is(get('/slow/query_range', query => 'm', start => $now - 60, end => $now,
    step => '15s')->{status}, 200, 'a range');
has(line('slow.log', qr{path="query_range"}), { query => '"m"',
    start => '"' . ($now - 60) . '"', end => "\"$now\"", step => '"15s"' },
    'has its range');
is(get('/slow/series', 'match[]' => 'm')->{status}, 200, 'series');
has(line('slow.log', qr{path="series"}), { match => '"m"' }, 'match[]');
is(get('/slow/label/' . 'x' x 500 . '/values')->{status}, 200, 'a long path');
has(line('slow.log', qr{path="label}), { path => '"label/' . 'x' x 58
    . '..."' }, 'is cut');
is(post('/slow/query', query => 'm or ' . 'n' x 100_000)->{status}, 200,
    'a long query');
$l = line('slow.log', qr{query="m or});
is(length $l->{query}, 2048 + 5, 'is cut') or diag($l->{line});
is(post('/slow/query', query => "m or \x01" . "\x01" x 100_000)->{status}, 400,
    'one of control characters');
$l = line('slow.log', qr{outcome=bad_data.*query="m or \\x01});
like($l->{query}, qr/^"m or (?:\\x01)+\.\.\."$/, 'is whole, but for its end');
cmp_ok(length $l->{line}, '<', 8192, 'and a line is bounded');
is($t->metric('nightlight_slow_queries_total'), $slow + 6, 'are counted');
is(get('/slow/status/buildinfo')->{status}, 200, 'what reads no data');
is(get('/slow/off/query', query => 'off')->{status}, 200, 'off');
is(get('/slow/hour/query', query => 'hour')->{status}, 200, 'not slow');
is(get('/slow/same/query', query => 'same')->{status}, 200, 'inherited');
has(line('slow.log', qr{query="same"}), { outcome => 'ok' }, 'is logged');
unlike($t->read_file('slow.log'), qr/buildinfo|off|hour/,
    'and the others are not');
is($t->metric('nightlight_slow_queries_total'), $slow + 7, 'nor counted');

# ---- the error log ----

is(get('/slow/error/query', query => "m\n\n + " . 'n' x 1000)->{status}, 200,
    'to the error log');
$l = line('error.log', qr{slow query: });
like($l->{line}, qr/\[warn\] .*nightlight: slow query: seconds=.*, client: 127/,
    'a line with the client');
like($l->{query}, qr/^"m\\x0A\\x0A \+ n+\.\.\."$/, 'and the query');
like($l->{line}, qr/request: "GET \/slow/, 'which is whole');

# ---- the file is opened anew for whoever rotates it ----

rename $t->dir . '/slow.log', $t->dir . '/slow.log.1' or die;
kill 'USR1', $t->master;
ok($t->wait_for(sub { get('/slow/query', query => 'rotated');
    return $t->read_file('slow.log') =~ /rotated/ }, 'rotated'), 'rotated');

# ---- nginx -t ----

for (['nightlight_slow_query soon;', qr/not a time such as 5s or "off"/],
    ['nightlight_slow_query 1s $uri;', qr/variables cannot be used/],
    ['nightlight_slow_query 1s; nightlight_slow_query 2s;', qr/is duplicate/],
    ['nightlight_slow_query 1s a b;', qr/invalid number of arguments/]) {
    my ($lines, $re) = @$_;
    $t->write_conf(server => $lines);
    my ($code, $out) = $t->config_test();
    isnt($code, 0, $lines);
    like($out, $re, 'says why');
}
$t->done();
