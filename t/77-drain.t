#!/usr/bin/perl
# healthy and ready as text and JSON, with reasons; drained before a stop, as
# examples/systemd/nightlight-drain.conf does it.
use strict;
use warnings;
use JSON::PP;
use Test::More;
use Nightlight::Test;
use Nightlight::Peers qw(capture);

my $t = Nightlight::Test->new();
mkdir $t->dir . "/$_" or die for qw(bad bad/store.id);
$t->write_conf(http => <<'EOF', locations => <<'EOF');
    nightlight_store bad path=%%TESTDIR%%/bad head=%%TESTDIR%%/head memory=24m;
EOF
        location /bad/           { nightlight_status bad; }
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/admin/  { allow 127.0.0.1; deny all;
                                   nightlight_admin main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOF
$t->run();

my $JSON = { Accept => 'application/json' };

sub ready { my (%p) = @_;
    my $r = $t->http('GET', '/-/ready' . ($p{uri} || ''), headers => $p{headers});
    return [@$r{qw(status body)}, $r->{headers}{'content-type'},
        $r->{headers}{'retry-after'} || 0] }
sub json { my ($body) = @_; return eval { decode_json($body) } || $body }

my $TEXT = 'text/plain; charset=utf-8';
is_deeply(ready(), [200, "Nightlight is Ready.\n", $TEXT, 0], 'ready');
my $yes = [200, "{\"ready\":true,\"reasons\":[],\"notes\":[]}\n",
    'application/json', 0];
is_deeply(ready(headers => $JSON), $yes, 'by Accept');
is_deeply(ready(uri => '?format=json'), $yes, 'by format=');
is_deeply(ready(headers => { Accept => 'text/html, application/json;q=0.9' }),
    $yes, 'among others');
is(ready(uri => '?format=xml')->[2], $TEXT, 'another format is not known');
is($t->http('GET', '/-/healthy?format=json')->{body}, "{\"healthy\":true}\n",
    'healthy too');
is($t->http('HEAD', '/-/ready', headers => $JSON)->{headers}{'content-type'},
    'application/json', 'HEAD');

# ---- a store that cannot be opened ----

$t->expect_log('store.id');
my $bad = $t->http('GET', '/bad/ready');
is($bad->{status}, 503, 'a store that cannot be opened');
like($bad->{body}, qr/^the store cannot be opened: .*store\.id/, 'says why');
my $no = $t->http('GET', '/bad/ready?format=json');
is_deeply([$no->{status}, json($no->{body}), $no->{headers}{'content-type'}],
    [503, { ready => JSON::PP::false, notes => [],
    reasons => [$bad->{body} =~ s/\n//r] }, 'application/json'], 'as JSON');

# ---- drain ----

is($t->http('GET', '/api/v1/admin/drain')->{status}, 405, 'GET drains nothing');
is($t->http('POST', '/-/drain')->{status}, 404, 'nor does who may ask ready');
is(ready()->[0], 200, 'indeed');
is($t->metric('nightlight_draining'), 0, 'the metric says so');
is($t->http('POST', '/api/v1/admin/drain')->{status}, 204, 'drain');
my $why = 'draining: this server is about to be stopped';
# each worker, and again
for my $i (1 .. 10) {
    is_deeply(ready(), [503, "Service Unavailable: $why\n", $TEXT, 1],
        'not ready') or last;
}
my $r = ready(headers => $JSON);
is_deeply([$r->[0], json($r->[1])], [503, { ready => JSON::PP::false,
    reasons => [$why], notes => [] }], 'JSON has the reason');
is($t->metric('nightlight_draining'), 1, 'and the metric');
is($t->metric('nightlight_ready'), 1, 'the store itself is ready');
is($t->http('GET', '/-/healthy')->{status}, 200, 'and healthy');
is($t->write({ __name__ => 'm' }, [int(time() * 1000), 1]), 204,
    'writes are taken');
is($t->value('m'), 1, 'queries answered');
$t->reload();
is(ready()->[0], 503, 'a reload changes nothing');
is($t->http('POST', '/api/v1/admin/resume')->{status}, 204, 'resume');
is(ready()->[0], 200, 'ready again');
is(scalar(grep { /\[notice\]/ } $t->log_lines('is drained: ready says no')), 1,
    'the log says so');

# ---- a worker that shuts down, as far as it can be asked ----

# One connection whose request has begun, and how it is answered: while nginx
# stops, and after a reload, when others serve on.
sub begun {
    my $s = $t->connect();
    Nightlight::Test::send_all($s, "GET /-/ready?format=json HTTP/1.1\r\n");
    $t->wait_for(sub { ($t->metric('nginx_connections_reading') || 0) >= 1 },
        'it has arrived');
    return $s;
}
sub rest {
    my ($s) = @_;
    Nightlight::Test::send_all($s, "Host: x\r\n\r\n");
    my $r = Nightlight::Test::read_response($s);
    return [$r->{status}, json($r->{body})];
}
my $begun = begun();
my @old = $t->workers();
$t->reload();
is_deeply(rest($begun), [200, json($yes->[1])],
    'after a reload an old worker is ready: new ones are');
$begun = begun();
kill 'QUIT', $t->master;
$t->wait_for(sub { !$t->workers() }, 'all workers shut down');
is_deeply(rest($begun), [503, { ready => JSON::PP::false, notes => [],
    reasons => ['shutting down: this server is being stopped'] }],
    'in a quit it is not');
$t->stop();
$t->run();
is(ready()->[0], 200, 'a new start is');

# ---- a stop, as the drop-in does it ----

my $text = $t->read_file("$Nightlight::Test::ROOT/examples/systemd/"
    . 'nightlight-drain.conf');
my @stop = grep { length } $text =~ /^ExecStop=-?(.*)$/mg;
is(scalar @stop, 3, 'three steps');
SKIP: {
    my @missing = grep { !-x } map { /^(\S+)/ } @stop;
    skip "no @missing", 1 if @missing;
    my $port = $t->port('http');
    my $pid = $t->master;
    s/:9101/:$port/, s{/run/nginx.pid}{@{[$t->dir]}/nginx.pid}, s/sleep \d+/sleep 0/
        for @stop;
    my ($code, $out, $err) = capture($t, [split / /, $stop[0]]);
    is($code, 0, $stop[0]) or diag($out, $err);
    is(ready()->[0], 503, 'load balancers go away');
    # a query that has begun when nginx stops is answered
    my $s = $t->connect();
    Nightlight::Test::send_all($s, "GET /api/v1/query?query=m HTTP/1.1\r\n");
    $t->wait_for(sub { ($t->metric('nginx_connections_reading') || 0) >= 1 },
        'it has arrived');
    my $stopping = $t->spawn('/bin/sh', '-c', $stop[2]);
    $t->wait_for(sub { $t->log_lines('gracefully shutting down') }, 'quits');
    ok(!eval { $t->connect() }, 'no new connections')
        if $t->wait_for(sub { !eval { $t->connect() } }, 'closed');
    Nightlight::Test::send_all($s, "Host: x\r\n\r\n");
    $r = Nightlight::Test::read_response($s);
    is($r->{status}, 200, 'what has begun is answered');
    close $s;
    ok($t->wait_for(sub { waitpid($pid, 1); !kill(0, $pid) }, 'stopped'),
        'and nginx is gone');
    undef $t->{master};
}
my $analyze = $t->program('systemd-analyze');
my ($unit) = grep { -e } map { "$_/systemd/system/nginx.service" }
    '/usr/lib', '/lib';
SKIP: {
    skip 'no systemd-analyze, or no nginx.service', 1 unless $analyze && $unit;
    mkdir $t->dir . "/$_" for qw(units units/nginx.service.d);
    my $service = $t->read_file($unit);
    $service =~ s{/usr/sbin/nginx}{$t->{nginx}}g;
    $t->write_file('units/nginx.service', $service);
    $t->write_file('units/nginx.service.d/nightlight-drain.conf', $text);
    my ($code, $out, $err) = capture($t, [$analyze, 'verify', '--man=no',
        $t->dir . '/units/nginx.service']);
    is("$code$out$err", '0', 'systemd takes the drop-in');
}

# ---- a new start is not drained, though the head goes on ----

$t->stop() if $t->master;
$t->run();
is(ready()->[0], 200, 'a new start is ready');
is($t->value('last_over_time(m[1h])'), 1, 'with what was written');

$t->done();
