#!/usr/bin/perl
# Clients that leave at every stage, workers that leave with work in hand,
# full queues, limits of queries: nothing is lost, leaked or kept waiting.
use strict;
use warnings;
use IO::Select;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER SO_RCVBUF);
use Test::More;
use Time::HiRes qw(time sleep);
use Nightlight::Test;

*form = \&Nightlight::Test::form;
*field = \&Nightlight::Test::field;
*sample_pb = \&Nightlight::Test::sample_pb;
*request_bytes = \&Nightlight::Test::request_bytes;
*series_pb = \&Nightlight::Test::series_pb;
*snappy = \&Nightlight::Test::snappy;
*send_all = \&Nightlight::Test::send_all;

my $FORM = 'application/x-www-form-urlencoded';
my $CURL = Nightlight::Test::_find('curl');

sub locations {
    return <<'EOL';
        location = /api/v1/write { nightlight_write main;
                                   client_max_body_size 32m; }
        location = /file/write   { nightlight_write main;
                                   client_max_body_size 32m;
                                   client_body_in_file_only clean; }
        location /api/v1/        { nightlight_query main; }
        location /quick/         { nightlight_query main;
                                   nightlight_query_timeout 300ms; }
        location /few/           { nightlight_query main;
                                   nightlight_query_max_samples 100; }
        location /held/          { nightlight_query main;
                                   nightlight_query_memory 16m; }
        location /little/        { nightlight_query main;
                                   nightlight_query_memory 64k; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location = /nginx        { stub_status; }
EOL
}

my $t = Nightlight::Test->new();
my $now = int(time());
my $N = 200;

sub conf {
    my (%p) = @_;
    $t->write_conf(
        events => 'worker_connections 4096;',
        server => 'listen 127.0.0.1:%%PORT_h2%% http2; send_timeout 30s;',
        locations => locations(), %p,
        main => "worker_rlimit_nofile 8192; " . ($p{main}
            || 'worker_processes 1;'));
    (my $conf = $t->read_file('nginx.conf')) =~ s/worker_connections 512;//;
    $t->write_file('nginx.conf', $conf);
}

conf();
$t->run();
is($t->write(map { ({ __name__ => 'm', i => "i$_", pad => 'x' x 100 },
    map { [($now - 600 + 10 * $_) * 1000, $_] } 0 .. 60) } 1 .. $N), 204,
    'written');

# Runs for many seconds if nobody stops it.
my %heavy = (query => 'sum(quantile_over_time(0.5, (m * m)[9m:1s]))',
    start => $now - 60, end => $now, step => '0.01');
my $heavy = '/api/v1/query_range?' . form(%heavy);

# Likewise, and its series are long work each: threads that are free help.
my %wide = (%heavy, query => 'sum(quantile_over_time(0.5, m[9m]))');
my $wide = '/api/v1/query_range?' . form(%wide);
chomp(my $processors = `nproc`);

sub get { my ($uri, %p) = @_;
    return $t->http('GET', $uri . (%p ? '?' . form(%p) : '')) }

sub reset_connection {
    my ($s) = @_;
    setsockopt($s, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
    close $s;
}

# Connections as nginx counts them, without the one that asks.
sub connections {
    my $r = get('/nginx');
    my ($active) = $r->{body} =~ /Active connections: (\d+)/;
    return $active - 1;
}

# CPU seconds of the workers.
sub cpu {
    my $sum = 0;
    for my $pid ($t->workers()) {
        my @f = split / /, $t->read_file("/proc/$pid/stat") =~ s/.*\) //sr;
        $sum += ($f[11] + $f[12]) / 100;
    }
    return $sum;
}

sub fds { my ($pid) = @_; return scalar(() = glob "/proc/$pid/fd/*") }

sub busy {
    my $was = cpu();
    return $t->wait_for(sub { cpu() - $was > 0.05 }, 'a query runs');
}

# No more work: no CPU is used over 0.15 s; and less than limit seconds of it
# until then, which others on the machine do not make more, as they do the time.
sub idle {
    my ($what, $limit) = @_;
    my $end = time() + 20;
    my $first = cpu();
    my ($was, $since) = ($first, time());
    while (time() - $since <= 0.15 && time() < $end) {
        sleep 0.02;
        my $is = cpu();
        ($was, $since) = ($is, time()) if $is != $was;
    }
    cmp_ok(time() < $end ? $was - $first : 1e9, '<',
        $limit * $Nightlight::Test::SLOW,
        "$what: idle at once");
}

my ($worker) = $t->workers();
get('/api/v1/query', query => '1');
my $fds = fds($worker);

# ---- the client leaves while its query runs ----

for my $how (qw(reset close shutdown)) {
    my $s = $t->connect();
    send_all($s, request_bytes('GET', $heavy));
    busy();
    $how eq 'reset' ? reset_connection($s)
        : $how eq 'close' ? close($s) : shutdown($s, 1);
    idle("$how while the thread runs", 0.3);
}
{
    my $s = $t->connect();
    send_all($s, request_bytes('POST', '/api/v1/query_range',
        { 'Content-Type' => $FORM }, form(%heavy)));
    busy();
    reset_connection($s);
    idle('reset of a form while the thread runs', 0.3);
}


# ---- while other threads help it ----

for my $how (qw(reset close)) {
    my $help = $t->metric('nightlight_query_help_total') // 0;
    my $s = $t->connect();
    send_all($s, request_bytes('GET', $wide));
    busy();
    $how eq 'reset' ? reset_connection($s) : close($s);
    idle("$how while threads help", 0.3);
    my $got = sub { $t->metric('nightlight_query_help_total') - $help };
    $t->wait_for(sub { $got->() > 0 }, 'it is counted') if $processors > 1;
    is($got->() > 0, $processors > 1,
        "$how: it had help, if there are processors");
}

# ---- while it waits for a thread ----

{
    my @s = map { $t->connect() } 1 .. 40;
    send_all($_, request_bytes('GET', $heavy)) for @s;
    busy();
    reset_connection($_) for @s[20 .. 39];
    $t->wait_for(sub { connections() <= 20 }, 'the waiting ones are gone');
    reset_connection($_) for @s[0 .. 19];
    idle('reset of twenty waiting and running ones', 0.5);
    is(connections(), 0, 'no connection left');
}

# ---- while its body is read ----

for my $uri ('/api/v1/write', '/file/write', '/api/v1/query') {
    my $s = $t->connect();
    my $req = $uri =~ /write/
        ? $t->write_bytes(snappy(series_pb({ __name__ => 'half' },
            map { [($now - 500) * 1000 + $_, $_] } 1 .. 5000)), uri => $uri)
        : request_bytes('POST', $uri, { 'Content-Type' => $FORM },
            'query=' . '1' x 100000);
    for my $part (0.01, 0.3, 0.99) {
        my $s = $t->connect();
        send_all($s, substr($req, 0, int(length($req) * $part)));
        $part > 0.5 ? reset_connection($s) : close($s);
    }
    $s = $t->connect();
    send_all($s, $req);
    reset_connection($s);    # all of it sent, the answer is not awaited
}
$t->wait_for(sub { connections() == 0 }, 'no connection left');
is(connections(), 0, 'left while the body was read: no connection left');

# ---- while a large write is applied in slices, from memory and a file ----

for my $uri ('/api/v1/write', '/file/write') {
    my $name = $uri =~ /file/ ? 'sliced_file' : 'sliced';
    my $body = snappy(join '', map { series_pb(
        { __name__ => $name, i => "i$_" },
        map { [($now - 500) * 1000 + $_, $_] } 1 .. 100) } 1 .. 1000);
    my $s = $t->connect();
    send_all($s, $t->write_bytes($body, uri => $uri));
    reset_connection($s);
    $t->wait_for(sub { connections() == 0 }, 'connection gone');
    my $n = $t->value("count($name)", time => $now - 499) || 0;
    ok($n == 0 || $n == 1000, "$uri: applied as a whole or not at all: $n");
    is($t->write_raw($body, uri => $uri)->{status}, 204, "$uri: sent again");
    is($t->value("sum(count_over_time(${name}[5m]))", time => $now - 400),
        100000, "$uri: all there, once");
}

# ---- a write that is much work, and the others ----

# The label set is near the limit of its size, and none of the series is known
# when they are checked.
{
    my @symbols = ('', '__name__', 'wide', (map { "n$_" } 1 .. 28),
        "\xc3\xa9" x 1000);
    my $refs = join '', map { chr } 1, 2, map { ($_, 31) } 3 .. 30;
    my $body = snappy(join '', (map { field(4, $_) } @symbols),
        field(5, field(1, $refs) . sample_pb([$now * 1000, 1])) x 8000);
    my $s = $t->connect();
    send_all($s, $t->write_bytes($body, headers => { 'Content-Type' =>
        'application/x-protobuf;proto=io.prometheus.write.v2.Request' }));
    my ($n, $select) = (0, IO::Select->new($s));
    until ($select->can_read(0)) {
        $t->http('GET', '/-/healthy');
        $n++;
    }
    like(Nightlight::Test::read_response($s)->{status}, qr/^204$/,
        'a write of large label sets');
    cmp_ok($n, '>=', 5, "others have their turn beside it: $n");
}

# Many lines about one long series do not have it read anew for each.
{
    my %v2 = ('Content-Type' =>
        'application/x-protobuf;proto=io.prometheus.write.v2.Request');
    my $symbols = join '', map { field(4, $_) } '', '__name__', 'long';
    my $valid = field(3, "\x78" . Nightlight::Test::varint($now * 1000));
    my %took;
    for ([lines => field(3, '')], [none => $valid]) {
        my ($name, $pb) = @$_;
        my $body = snappy($symbols . field(5, field(1, "\1\2")
            . $pb x 1_000_000));
        my $begin = time();
        my $r = $t->write_raw($body, headers => \%v2);
        $took{$name} = time() - $begin;
        is($r->{status}, 400, "a million histograms, $name");
        my $n = () = $r->{body} =~ /\n/g;
        $name eq 'none' ? is($n, 1, 'one line') : cmp_ok($n, '>', 50, 'lines');
    }
    cmp_ok($took{lines}, '<', 5 * $took{none} + 0.2,
        sprintf('lines cost little: %.2f s, without %.2f s',
        @took{qw(lines none)}));
}

# ---- while a large answer is on its way ----

my $large = '/api/v1/query_range?' . form(query => 'm', start => $now - 600,
    end => $now, step => '0.2');

sub slow_reader {
    my ($bytes, $uri) = @_;
    my $s = $t->connect();
    setsockopt($s, SOL_SOCKET, SO_RCVBUF, 65536);
    send_all($s, request_bytes('GET', $uri || $large));
    my $data = '';
    while (length $data < $bytes) {
        sysread($s, $data, 4096, length $data) or last;
    }
    return ($s, $data);
}

for my $bytes (1, 5000, 500_000) {
    my ($s, $data) = slow_reader($bytes);
    like($data, qr{^HTTP/1.1 200}, "reads $bytes bytes");
    reset_connection($s);
    $t->wait_for(sub { connections() == 0 }, 'connection gone', 5);
    is(connections(), 0, "reset after $bytes bytes");
}
{
    my @s = map { (slow_reader(1))[0] } 1 .. 20;
    is(get('/api/v1/query', query => 'vector(1)')->{status}, 200,
        'twenty slow readers do not keep others waiting');
    my ($s, $data) = slow_reader(100);
    1 while sysread($s, $data, 65536, length $data);
    my $whole = $t->http('GET', $large);
    is(length Nightlight::Test::parse_response($data)->{body},
        length $whole->{body}, 'a slow reader gets the whole answer');
    close $_ for @s;
    $t->wait_for(sub { connections() == 0 }, 'connections gone', 5);
}

# ---- a large answer and the others ----

# Seconds that the slowest of the others waited, and that the answer took.
sub beside_large_answer {
    my $s = $t->connect();
    send_all($s, request_bytes('GET', '/api/v1/query_range?'
        . form(query => 'm', start => $now - 600, end => $now,
        step => '0.06')));
    sysread($s, my $data, 1);
    my $pid = fork();
    if (!$pid) {
        1 while sysread($s, $data, 1 << 20);
        POSIX::_exit(0);
    }
    push @{$t->{pids}}, $pid;
    close $s;
    my ($begin, $worst) = (time(), 0);
    until (waitpid($pid, POSIX::WNOHANG()) == $pid) {
        my $at = time();
        get('/-/ready');
        $worst = time() - $at if time() - $at > $worst;
    }
    $t->{pids} = [grep { $_ != $pid } @{$t->{pids}}];
    return ($worst, time() - $begin);
}
{
    # a busy machine may hold anybody up once, not five times
    my ($worst, $whole);
    for (1 .. 5) {
        ($worst, $whole) = beside_large_answer();
        last if $worst < $whole / 2;
    }
    cmp_ok($worst, '<', $whole / 2,
        'others have their turn while a large answer is sent');
}
{
    (my $uri = $large) =~ s{/api/v1}{/held};
    my @s = map { (slow_reader(1, $uri))[0] } 1 .. 30;
    my $n = connections();
    cmp_ok($n, '<', 30, "answers held for slow readers are bounded: $n of 30");
    cmp_ok($n, '>', 4, 'but there are some');
    ok($t->log_lines(qr/read too slowly/) > 0, 'the log says so');
    my $data = '';
    1 while sysread($s[-1], $data, 65536, length $data);
    ok($data =~ /\r\n0\r\n\r\n\z/, 'the last one gets it all');
    reset_connection($_) for @s;
    $t->wait_for(sub { connections() == 0 }, 'connections gone', 5);
}

SKIP: {
    skip 'no curl', 4 unless $CURL;
    my $url = 'http://127.0.0.1:' . $t->port('h2');
    my @curl = ($CURL, '-s', '-o', '/dev/null', '--http2-prior-knowledge');
    my $pid = $t->spawn(@curl, $url . $heavy);
    busy();
    kill 'KILL', $pid;
    idle('HTTP/2 connection gone while the thread runs', 0.3);
    is(h2_reset($heavy, 0), 1, 'HTTP/2 stream reset while the thread runs');
    idle('HTTP/2 stream reset', 0.3);
    h2_reset($large, 1);
}

# A stream that is reset on a connection that stays: is the connection still
# good for a second request?  late: reset in the midst of the answer.
sub h2_reset {
    my ($uri, $late) = @_;
    my $s = $t->connect('h2');
    my $lit = sub { my ($n, $v) = @_; return "\0" . chr(length $n) . $n
        . "\x7f" . Nightlight::Test::varint(length($v) - 127) . $v };
    my $frame = sub { my ($type, $flags, $id, $data) = @_;
        return substr(pack('N', length $data), 1)
            . pack('CCN', $type, $flags, $id) . $data };
    my $head = sub { my $path = $_[0] . '&' . 'x' x 200;
        return "\x82\x86" . $lit->(':path', $path) . "\x41\x01l" };
    send_all($s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . $frame->(4, 0, 0, '')
        . $frame->(1, 5, 1, $head->($uri)));
    if ($late) {
        my $data = '';
        sysread($s, $data, 65536, length $data) while length $data < 30000;
    } else {
        busy();
    }
    send_all($s, $frame->(3, 0, 1, pack('N', 8)));
    if ($late) {
        my @before = $t->http('GET', '/nginx')->{body} =~ /Writing: (\d+)/;
        ok($t->wait_for(sub {
            my ($n) = $t->http('GET', '/nginx')->{body} =~ /Writing: (\d+)/;
            return $n <= 1 }, 'the stream is gone', 5),
            'HTTP/2 stream reset in the midst of an answer');
        return;    # the window of the connection is used up
    }
    send_all($s, $frame->(1, 5, 3, $head->('/api/v1/query?query=vector(1)')));
    my ($data, $ok) = ('', 0);
    local $SIG{ALRM} = sub { die "timeout\n" };
    eval {
        alarm(10);
        until ($data =~ /"success"/ && $data =~ /"1"\]\}\]\}\}/) {
            sysread($s, $data, 65536, length $data) or last;
        }
        $ok = $data =~ /vector.*"1"\]/s ? 1 : 0;
    };
    alarm(0);
    close $s;
    return $ok;
}

is(join(' ', $t->workers()), $worker, 'the same worker all the time');
$t->wait_for(sub { fds($worker) <= $fds }, 'descriptors given back', 3);
cmp_ok(fds($worker), '<=', $fds + 1, 'no descriptors leaked');

# ---- limits ----

sub refused {
    my ($name, $r, $status, $type, $re) = @_;
    is($r->{status}, $status, "$name: status");
    my $json = eval { JSON::PP->new->decode($r->{body}) } || {};
    is($json->{errorType}, $type, "$name: type");
    like($json->{error}, $re, "$name: text");
}

my $begin = time();
refused('timeout', get('/quick/query_range', %heavy), 503, 'timeout',
    qr/query timed out/);
cmp_ok(time() - $begin, '<', 0.8 * $Nightlight::Test::SLOW,
    'timeout: in time');
$begin = time();
refused('timeout parameter', get('/api/v1/query_range', %heavy,
    timeout => '200ms'), 503, 'timeout', qr/query timed out/);
cmp_ok(time() - $begin, '<', 0.7 * $Nightlight::Test::SLOW,
    'timeout parameter: in time');
refused('samples', get('/few/query', query => 'm[5m]', time => $now), 422, 'execution',
    qr/too many samples/);
refused('memory', get('/little/query_range', query => 'm', %heavy{qw(start end
    step)}), 422, 'execution', qr/memory/);
idle('after the limits', 0.3);

# ---- more queries than the queue takes ----

{
    my @s = map { $t->connect() } 1 .. 1500;
    send_all($_, request_bytes('GET', $heavy)) for @s;
    my $refused = 0;
    my $rin = '';
    vec($rin, fileno($_), 1) = 1 for @s;
    $t->wait_for(sub {
        $refused = 0;
        my $r = $rin;
        select($r, undef, undef, 0);
        $refused += vec($r, fileno($_), 1) for @s;
        return $refused >= 300;
    }, 'refusals', 60);
    # what ran to its end meanwhile made room for others
    cmp_ok($refused, '>=', 1500 - 1024 - 200, "$refused refused of 1500");
    cmp_ok($refused, '<=', 1500 - 1024, 'and not more');
    # one that ran to its end may be among them
    my $r = {};
    for my $s (@s) {
        my $ready = $rin;
        select($ready, undef, undef, 0);
        next if !vec($ready, fileno($s), 1);
        $r = $t->http_raw($s, '');
        last if $r->{status} != 200;
    }
    is($r->{status}, 503, 'refused with 503');
    is($r->{headers}{'retry-after'}, 1, 'and Retry-After');
    is(get('/-/ready')->{status}, 200, 'the worker answers all the time');
    reset_connection($_) for @s;
    $t->wait_for(sub { connections() == 0 }, 'connections gone');
    idle('after 1500 clients left', 1);
    is(get('/api/v1/query', query => 'vector(1)')->{status}, 200,
        'and queries run again');
    $t->expect_log(qr/queries are waiting/);
}
{
    my $body = form(%heavy) . '&x=' . 'y' x 3_000_000;
    my @s = map { $t->connect() } 1 .. 30;
    send_all($_, request_bytes('POST', '/api/v1/query_range',
        { 'Content-Type' => $FORM }, $body)) for @s;
    $t->wait_for(sub { connections() <= 25 }, 'refusals', 60);
    is(get('/-/ready')->{status}, 200, 'long requests that wait: the worker '
        . 'answers');
    my $n = connections();
    cmp_ok($n, '<=', 25, "and keeps $n of 30");
    cmp_ok($n, '>=', 20, 'and not less');
    reset_connection($_) for @s;
    idle('after they left', 1);
}
{
    my @s = map { $t->connect() } 1 .. 1000;
    my $n = 0;
    send_all($_, request_bytes('GET', '/api/v1/query?query=sum(m)')) for @s;
    $n += $t->http_raw($_, '')->{status} == 200 for @s;
    is($n, 1000, 'a thousand at once are all served');
}
cmp_ok(fds($worker), '<=', $fds + 1, 'no descriptors leaked by them');

# ---- workers that leave ----

{
    my ($slow) = slow_reader(1);
    my $s = $t->connect();
    send_all($s, request_bytes('GET', '/api/v1/query_range?' . form(%heavy,
        query => 'sum(sum_over_time((m * m)[2m:1s]))', step => '0.02')));
    my $w = $t->connect();
    my $body = $t->write_bytes(snappy(series_pb({ __name__ => 'late' },
        [$now * 1000, 1])), headers => { Connection => 'close' });
    send_all($w, substr($body, 0, length($body) - 10));
    my $helped = $t->connect();
    send_all($helped, request_bytes('GET', '/api/v1/query_range?' . form(%wide,
        step => '0.03')));
    busy();
    kill 'HUP', $t->master;
    $t->wait_for(sub { my @w = $t->workers(); @w == 1 && $w[0] != $worker },
        'a new worker');
    is(get('/api/v1/query', query => 'vector(1)')->{status}, 200,
        'reload: the new worker answers');
    send_all($w, substr($body, length($body) - 10));
    is($t->http_raw($w, '')->{status}, 204,
        'reload: a write under way is taken');
    is($t->http_raw($s, '')->{status}, 200,
        'reload: a query under way is answered');
    is($t->http_raw($helped, '')->{status}, 200,
        'reload: one that other threads help as well');
    my $data = '';
    1 while sysread($slow, $data, 65536, length $data);
    ok($data =~ /\r\n0\r\n\r\n\z/, 'reload: a slow reader gets it all');
    $t->wait_for(sub { !kill 0, $worker }, 'the old worker has left');
    ok(!kill(0, $worker), 'the old worker has left');
}
{
    conf(main => 'worker_processes 1; worker_shutdown_timeout 500ms;');
    $t->reload();
    my ($worker) = $t->workers();
    my ($slow) = slow_reader(1);
    my $s = $t->connect();
    send_all($s, request_bytes('GET', $wide));
    busy();
    my $begin = time();
    kill 'HUP', $t->master;
    $t->wait_for(sub { !kill 0, $worker }, 'the old worker has left');
    cmp_ok(time() - $begin, '<', 3 * $Nightlight::Test::SLOW,
        'worker_shutdown_timeout ends queries');
}
for my $signal (qw(TERM INT)) {
    my ($slow) = slow_reader(1);
    my @s = map { my $s = $t->connect();
        send_all($s, request_bytes('GET', $_ % 2 ? $wide : $heavy)); $s }
        1 .. 10;
    busy();
    my $begin = time();
    ok($t->stop($signal), "$signal stops with queries in hand");
    cmp_ok(time() - $begin, '<', 1.5 * $Nightlight::Test::SLOW,
        "$signal: at once");
    is(scalar $t->log_lines(qr/exited on signal/), 0, "$signal: by itself");
    $t->run();
}

# ---- a thread pool of one thread and a short queue ----

# all threads to whoever asks: a pool that is full is what this is about
conf(main => 'worker_processes 1; thread_pool default threads=1 max_queue=2;',
    http => 'nightlight_query_concurrency 100;');
$t->reload();
{
    my @s = map { $t->connect() } 1 .. 50;
    send_all($_, request_bytes('GET', '/api/v1/query?query=sum(m)')) for @s;
    my $n = 0;
    $n += $t->http_raw($_, '')->{status} == 200 for @s;
    is($n, 50, 'all are answered in turn');
    @s = map { $t->connect() } 1 .. 10;
    send_all($_, request_bytes('GET', $heavy)) for @s;
    busy();
    # answers of the only worker: it has read what came before
    $t->http('GET', '/-/healthy') for 1 .. 2;
    my $w = $t->write_raw(snappy(series_pb({ __name__ => 'x' },
        [$now * 1000, 1])), uri => '/file/write');
    ok($w->{status} == 503 && $w->{headers}{'retry-after'},
        'a body in a file finds no thread: 503, Retry-After');
    is($t->write({ __name__ => 'y' }, [$now * 1000, 1]), 204,
        'a body in memory needs none');
    reset_connection($_) for @s;
    idle('ten left', 0.5);
    is(get('/api/v1/query', query => 'y')->{status}, 200, 'queries run again');
    is($t->write_raw(snappy(series_pb({ __name__ => 'x' },
        [$now * 1000, 1])), uri => '/file/write')->{status}, 204,
        'and bodies are read');
}

$t->done();
