#!/usr/bin/perl
# A right that is taken away is gone with the next reload (CRL) or handshake
# (OCSP): no connection and no TLS session outlives it.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;
use Nightlight::TLS;

my $x = Nightlight::TLS->new();
my $uri = '/api/v1/query?query=1';
$x->ca('client', 'write', "writer$_") for 2 .. 4;
$x->ca('client', 'read', "reader$_") for 2 .. 5;
$x->run();

# ---- the CRL ----

is($x->write_as('writer2', 'a')->{status}, 204, 'a writer');
$x->ca('revoke', 'write', 'writer2');
is($x->write_as('writer2', 'b')->{status}, 204,
    'revoked, but nginx has not read the CRL yet');
$x->reload();
is($x->write_as('writer2', 'c')->{status}, 503, 'refused after the reload');
is($x->write_as('writer', 'd')->{status}, 204, 'others write on');
is_deeply([$x->names()], [qw(a b d)], 'the store has what was allowed');

# ---- connections that are open ----

my $s = $x->session('reader2', 'read');
is($s->get('localhost', $uri), 200, 'a request of a connection');
is($s->get('localhost', $uri), 200, 'another one');
like($s->{answer}, qr/"result":\[[\d.]+,"1"\]/, 'and its answer');
$x->ca('revoke', 'read', 'reader2');
is($s->get('localhost', $uri), 200, 'not yet');
$x->reload();
ok($s->closed(), 'the reload closes the connection');
$s->close();
is($x->as('reader2', 'read', $uri)->{status}, 400, 'and there is no other');
is($x->as('reader', 'read', $uri)->{status}, 200, 'but for others');

# A certificate is looked at when a connection begins: keepalive_time says
# how long one that has expired can go on (nginx's default: an hour).
my $with = 'keepalive_time 1s; ssl_session_tickets off;';
$x->change(qr/ssl_session_tickets off;/ => $with);
$x->reload();
$s = $x->session('reader', 'read');
my $n = 0;
$x->wait_for(sub { $s->get('localhost', $uri) == 200 && ++$n
    && $s->{answer} =~ /^Connection: close\r/mi }, 'the last answer');
cmp_ok($n, '>', 1, 'keepalive_time: some requests');
ok($s->closed(), 'and then the connection ends');
$s->close();
$x->change(qr/\Q$with/ => 'ssl_session_tickets off;');

# ---- TLS sessions ----

# Status of a request, and whether its session was resumed.  $file has the
# session that is offered, or gets one.
sub resume {
    my ($who, $port, $tls, $file, $how) = @_;
    my $c = $x->session($who, $port, "-tls1_$tls", "-sess_$how",
        $x->dir . "/$file");
    my $status = $c->get('localhost', $uri);
    my $reused = $c->{got} =~ /^Reused, TLSv1\.$tls/m ? 1 : 0;
    $c->close();
    return ($status, $reused);
}

for my $tls (2, 3) {
    my $who = 'reader' . ($tls + 1);
    is((resume($who, 'read', $tls, "sess$tls", 'out'))[0], 200,
        "TLS 1.$tls: reads");
  SKIP: {
        skip 'no session was given', 1 unless -s $x->dir . "/sess$tls";
        is_deeply([resume($who, 'read', $tls, "sess$tls", 'in')], [200, 0],
            "TLS 1.$tls: its session is not resumed");
    }
    $x->ca('revoke', 'read', $who);
    $x->reload();
  SKIP: {
        skip 'no session was given', 1 unless -s $x->dir . "/sess$tls";
        is_deeply([resume($who, 'read', $tls, "sess$tls", 'in')], [400, 0],
            "TLS 1.$tls: nor when it is revoked");
    }
    is($x->as($who, 'read', $uri, '--tls-max', "1.$tls")->{status}, 400,
        "TLS 1.$tls: revoked");
}

# What the example switches off: with a cache that survives the reload, who
# has a session gets in although revoked, and docs/SECURITY.md says so.
$x->change(qr/ssl_session_cache   off;/ => 'ssl_session_cache shared:tls:1m;');
$x->reload();
is((resume('reader5', 'read', 2, 'sess5', 'out'))[0], 200,
    'with a session cache: reads');
is_deeply([resume('reader5', 'read', 2, 'sess5', 'in')], [200, 1],
    'and is resumed');
is((resume('reader5', 'write', 2, 'sess5', 'in'))[1], 0,
    'its session opens no other server');
$x->ca('revoke', 'read', 'reader5');
$x->reload();
is_deeply([resume('reader5', 'read', 2, 'sess5', 'in')], [200, 1],
    'and outlives the revocation: why the example has no sessions');
is($x->as('reader5', 'read', $uri)->{status}, 400, 'that a handshake heeds');
$x->change(qr/ssl_session_cache shared:tls:1m;/ => 'ssl_session_cache   off;');
$x->reload();
is_deeply([resume('reader5', 'read', 2, 'sess5', 'in')], [400, 0],
    'without the cache it does not');

# ---- a CRL that nobody renewed ----

$x->ca('CRL_END=20200102000000Z', 'crl');
$x->reload();
$x->mark();
is($x->write_as('writer', 'e')->{status}, 503,
    'a CRL that has expired lets nobody in');
ok($x->logged(qr/verify error: \(12:CRL has expired\)/), 'and nginx logs it');
like($x->read_file("$Nightlight::Test::ROOT/docs/OPERATIONS.md"),
    qr/CRL has expired/, 'OPERATIONS.md has it');
$x->ca('crl');
$x->reload();
is($x->write_as('writer', 'e')->{status}, 204, 'renewed, all is well');

# ---- an authority that is replaced by another of the same name ----

mkdir $x->dir . '/tls/new';
$x->command("$Nightlight::Test::ROOT/examples/make-ca.sh", $x->dir . '/tls/new');
$x->write_file("tls/next.$_", $x->read_file("tls/new/writer.$_")) for qw(crt key);
is($x->write_as('next', 'bad')->{status}, 503, 'one that is not known yet');
my %old = map { $_ => $x->read_file("tls/write-ca.$_") } qw(crt crl);
$x->write_file("tls/write-ca.$_", $old{$_} . $x->read_file("tls/new/write-ca.$_"))
    for qw(crt crl);
$x->reload();
is($x->write_as('next', 'e')->{status}, 204, 'both at once: the new one writes');
is($x->write_as('writer', 'e')->{status}, 204, 'and the old one');
$x->write_file("tls/write-ca.$_", $x->read_file("tls/new/write-ca.$_"))
    for qw(crt crl);
$x->reload();
is($x->write_as('next', 'e')->{status}, 204, 'the old one removed: the new one writes');
is($x->write_as('writer', 'bad')->{status}, 503, 'the old one does not');
$x->write_file("tls/write-ca.$_", $old{$_}) for qw(crt crl);
$x->reload();

# ---- OCSP ----

$x->change(qr/# (ssl_ocsp +leaf;)/ => 'ssl_ocsp leaf;',
    qr/# (ssl_ocsp_responder +http:\S+;)/
        => 'ssl_ocsp_responder http://127.0.0.1:%%PORT_ocsp%%/;');
my ($code, $out) = $x->config_test();
if ($code && $out =~ /unknown directive "ssl_ocsp/) {
    note('this nginx has no ssl_ocsp');
    $x->done();
    exit;
}
is($code, 0, 'OCSP is accepted') or diag($out);
$x->reload();
$x->mark();
is($x->write_as('writer3', 'f')->{status}, 503,
    'nobody gets in while the responder is silent');
ok($x->logged(qr/failed .* while requesting certificate status, responder: /),
    'nginx logs what it missed');

my $ca = $x->dir . '/tls/ca/write-issuing';
my $responder;
sub respond {
    # not asked by a connection: openssl 3.0 spins for ever on an empty one
    my $lines = () = $x->read_file('logs/openssl.log') =~ /waiting for/g;
    $responder = $x->spawn($x->{openssl}, 'ocsp', '-port', $x->port('ocsp'),
        '-index', "$ca.index", '-CA', "$ca.crt", '-rsigner', "$ca.crt",
        '-rkey', "$ca.key", '-nmin', '5', @_);
    return $x->wait_for(sub {
        my $now = () = $x->read_file('logs/openssl.log') =~ /waiting for/g;
        return $now > $lines;
    }, 'responder');
}
ok(respond(), 'a responder');
is($x->write_as('writer3', 'g')->{status}, 204, 'which says good')
    or diag($x->read_file('logs/openssl.log'), $x->log_lines(qr/OCSP|status/));
$x->command($x->{openssl}, 'ca', '-config', "$ca.cnf", '-revoke',
    'ca/writer3.pem');
kill 'KILL', $responder;
waitpid($responder, 0);
ok(respond(), 'and one that knows of a revocation');
$x->mark();
my $r = $x->write_as('writer3', 'h');
is($r->{status}, 503, 'revoked by OCSP, without a reload');
like($r->{body}, qr/FAILED:certificate revoked/, 'with the reason');
ok($x->logged(qr/client SSL certificate verify error: certificate revoked while/),
    'and nginx logs it');
is($x->write_as('writer4', 'i')->{status}, 204, 'others write on');
kill 'KILL', $responder;
waitpid($responder, 0);

# with the cache an answer counts until it expires
$x->change(qr/# ssl_ocsp_cache +(.*?);/ => 'ssl_ocsp_cache shared:ocsp:1m;');
ok(respond(), 'a responder again');
$x->reload();
is($x->write_as('writer4', 'j')->{status}, 204, 'with a cache: good');
kill 'KILL', $responder;
waitpid($responder, 0);
is($x->write_as('writer4', 'k')->{status}, 204,
    'and good while the answer is young');
is($x->write_as('writer', 'l')->{status}, 503, 'who was not asked for is not');

# the responder that a certificate names itself
$x->ca('OCSP=http://127.0.0.1:' . $x->port('ocsp') . '/', 'client', 'write',
    'writer5');
$x->change(qr/ssl_ocsp_responder .*?;/ => '', qr/ssl_ocsp_cache .*?;/ => '');
ok(respond(), 'a responder once more');
$x->reload();
is($x->write_as('writer5', 'n')->{status}, 204, 'named in the certificate: good');
kill 'KILL', $responder;
waitpid($responder, 0);
is($x->write_as('writer5', 'o')->{status}, 503, 'and refused when it is silent');
is($x->write_as('writer4', 'p')->{status}, 503,
    'a certificate that names none is refused');

is_deeply([$x->names()], [qw(a b d e g i j k n)],
    'the store has what was allowed');
my $manual = $x->read_file("$Nightlight::Test::ROOT/docs/OPERATIONS.md");
like($manual, qr/\Q$_\E/, "OPERATIONS.md has: $_")
    for 'while requesting certificate status', 'verify error: certificate revoked';
$x->done();
