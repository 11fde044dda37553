#!/usr/bin/perl
# TLS with client certificates in front of write and query: nginx judges who
# comes, Nightlight sees only those who may.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my $openssl = Nightlight::Test::_find('openssl');
my $curl = Nightlight::Test::_find('curl');
plan(skip_all => 'needs openssl and curl') unless $openssl && $curl;

my $t = Nightlight::Test->new();
my $d = $t->dir;

sub run_ok { my $out = `cd $d && @_ 2>&1`; die "@_: $out" if $?; }

# a certificate authority and one nobody trusts, each with clients
for my $ca (qw(ca other)) {
    run_ok("$openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
        . "-nodes -days 2 -subj /CN=$ca -keyout $ca.key -out $ca.crt");
}
sub certificate {
    my ($ca, $name, $ext) = @_;
    run_ok("$openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
        . "-subj /CN=$name -keyout $name.key -out $name.csr");
    $t->write_file("$name.ext", $ext || '');
    run_ok("$openssl x509 -req -days 2 -in $name.csr -CA $ca.crt "
        . "-CAkey $ca.key -CAcreateserial -extfile $name.ext -out $name.crt");
}
certificate('ca', 'server', "subjectAltName=IP:127.0.0.1\n");
certificate('ca', 'writer');
certificate('ca', 'reader');
certificate('other', 'stranger');

$t->write_conf(
    http => <<'EOL',
    map $ssl_client_s_dn $may_write { default 0; CN=writer 1; }
    log_format who '$ssl_client_s_dn $uri $status';
    access_log %%TESTDIR%%/who.log who;
EOL
    server => <<'EOL',
        listen 127.0.0.1:%%PORT_tls%% ssl http2;
        ssl_certificate     %%TESTDIR%%/server.crt;
        ssl_certificate_key %%TESTDIR%%/server.key;
        ssl_client_certificate %%TESTDIR%%/ca.crt;
        ssl_verify_client optional;
EOL
    locations => <<'EOL');
        location = /api/v1/write {
            if ($may_write = 0) { return 403; }
            nightlight_write main;
        }
        location /api/v1/ {
            if ($ssl_client_verify != SUCCESS) { return 401; }
            nightlight_query main;
        }
        location /-/ { nightlight_status main; }
    }
    server {
        listen 127.0.0.1:%%PORT_strict%% ssl;
        ssl_certificate     %%TESTDIR%%/server.crt;
        ssl_certificate_key %%TESTDIR%%/server.key;
        ssl_client_certificate %%TESTDIR%%/ca.crt;
        ssl_verify_client on;
        client_max_body_size 32m;
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
EOL
$t->run();

my $now = int(time());

# (status, HTTP version, body) of a request as a client with a certificate.
sub as {
    my ($who, $port, $uri, @args) = @_;
    my @cmd = ($curl, '-s', '-g', '-m', 20, '--cacert', "$d/ca.crt", '-w',
        '\n%{http_code} %{http_version}',
        ($who ? ('--cert', "$d/$who.crt", '--key', "$d/$who.key") : ()),
        @args, 'https://127.0.0.1:' . $t->port($port) . $uri);
    open(my $out, '-|', @cmd) or die "curl: $!";
    local $/;
    my $got = <$out>;
    close $out;
    my ($body, $status, $version) = $got =~ /^(.*)\n(\d+) (\S+)$/s;
    return ($status, $version, $body);
}

my $n = 0;
sub write_as {
    my ($who, $port, $name, $samples, @args) = @_;
    $t->write_file('body', Nightlight::Test::snappy(
        Nightlight::Test::series_pb({ __name__ => $name },
        map { [$now * 1000 - 100_000 + $_, $_] } 1 .. $samples)));
    return (as($who, $port, '/api/v1/write', '--data-binary', "\@$d/body",
        (map { ('-H', "$_: $Nightlight::Test::WRITE_HEADERS{$_}") }
            sort keys %Nightlight::Test::WRITE_HEADERS), @args))[0];
}

for my $v ('--http1.1', '--http2') {
    my $h = $v eq '--http2' ? 'h2' : 'h1';
    is(write_as('writer', 'tls', "a_$h", 10, $v), 204, "$v: writer writes");
    is(write_as('writer', 'tls', "b_$h", 100_000, $v), 204,
        "$v: writer writes much");
    is(write_as('reader', 'tls', "c_$h", 10, $v), 403,
        "$v: reader does not");
    is(write_as('', 'tls', "c_$h", 10, $v), 403,
        "$v: nobody does not");
    my ($status, $version, $body) = as('reader', 'tls',
        "/api/v1/query?query=count_over_time(b_$h\[5m])", $v);
    is($status, 200, "$v: reader reads");
    is($version, $v eq '--http2' ? '2' : '1.1', "$v: by that protocol");
    like($body, qr/"100000"/, "$v: all that was written");
    ($status, undef, $body) = as('reader', 'tls', '/api/v1/query_range', $v,
        '-d', "query=b_$h", '-d', 'start=' . ($now - 100), '-d', "end=$now",
        '-d', 'step=0.02');
    is($status, 200, "$v: a long answer");
    my @points = $body =~ /\[\d+(?:\.\d+)?,"\d+"\]/g;
    is(scalar @points, 5000, "$v: is whole");
    is((as('', 'tls', '/api/v1/query?query=1', $v))[0], 401,
        "$v: nobody does not read");
    is((as('', 'tls', '/-/ready', $v))[0], 200, "$v: all may ask if ready");
    is((as('stranger', 'tls', '/api/v1/query?query=1', $v))[0], 400,
        "$v: a certificate of another authority");
}

# when the newest certificate ends that was let in
{
    my ($end) = sort { $b <=> $a } map {
        my ($date) = `$openssl x509 -in $d/$_.crt -noout -enddate`
            =~ /notAfter=(.*)/;
        my ($mon, $day, $h, $m, $s, $year) =
            $date =~ /(\w+) +(\d+) (\d+):(\d+):(\d+) (\d+)/;
        require Time::Local;
        Time::Local::timegm($s, $m, $h, $day, index(
            'JanFebMarAprMayJunJulAugSepOctNovDec', $mon) / 3, $year) }
        qw(writer reader);
    my $seen = (as('reader', 'tls', '/api/v1/status/self_metrics'
        . '?metric_name_pattern=nightlight_client_certificate_expiry_seconds'))
        [2];
    my ($value) = $seen =~ /"value":(\d+)/;
    is($value, $end, 'the metric has the end of the newest certificate');
}

is(write_as('writer', 'strict', 'd', 10), 204, 'verify on: writer writes');
like((as('reader', 'strict', '/api/v1/query?query=d'))[2], qr/"10"/,
    'verify on: reader reads');
is(write_as('', 'strict', 'c', 10), 400, 'verify on: nobody writes');
is((as('', 'strict', '/api/v1/query?query=d'))[0], 400,
    'verify on: nobody reads');
is(write_as('stranger', 'strict', 'c', 10), 400,
    'verify on: a stranger does not write');

my (undef, undef, $body) = as('reader', 'strict',
    '/api/v1/label/__name__/values');
is($body, '{"status":"success","data":["a_h1","a_h2","b_h1","b_h2","d"]}',
    'only what was allowed is in the store');
like($t->read_file('who.log'), qr{^CN=writer /api/v1/write 204$}m,
    'the access log says who wrote');

$t->done();
