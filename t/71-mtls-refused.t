#!/usr/bin/perl
# examples/mtls.conf: who is let in, who is not, and what an operator finds
# in the logs.  Each line of the error log here is named in
# docs/OPERATIONS.md.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;
use Nightlight::TLS;

my $x = Nightlight::TLS->new();
my $manual = $x->read_file("$Nightlight::Test::ROOT/docs/OPERATIONS.md");
$manual =~ s/\s+/ /g;

# ---- certificates that are not as they should be ----

sub utc { my @t = gmtime(time() + $_[0]);
    return sprintf '%04d%02d%02d%02d%02d%02dZ', $t[5] + 1900, $t[4] + 1,
        @t[3, 2, 1, 0] }

$x->ca('START=' . utc(-172800), 'END=' . utc(-3600), 'client', 'write',
    'expired');
$x->ca('START=' . utc(86400), 'END=' . utc(172800), 'client', 'write',
    'early');
$x->ca('client', 'write', 'revoked');
$x->ca('revoke', 'write', 'revoked');
$x->command($x->{openssl}, qw(req -x509 -newkey ec -pkeyopt
    ec_paramgen_curve:P-256 -nodes -days 2 -subj), '/O=Try Nightlight/CN=writer',
    qw(-keyout selfsigned.key -out selfsigned.crt));
# the leaf of a good one, without the intermediate
$x->write_file('tls/leaf.crt', $x->read_file('tls/ca/writer.pem'));
$x->write_file('tls/leaf.key', $x->read_file('tls/writer.key'));
# a root of the same name as the writers', that nobody trusts
mkdir $x->dir . '/tls/evil';
$x->command("$Nightlight::Test::ROOT/examples/make-ca.sh",
    $x->dir . '/tls/evil');
for my $ext (qw(crt key)) {
    $x->write_file("tls/forged.$ext", $x->read_file("tls/evil/writer.$ext"));
}

# Chains of two and three intermediates: issuing -> deep1 -> deep2 -> client.
sub below {
    my ($ca, $name, $is_ca) = @_;
    $x->write_file("tls/$name.ext", $is_ca
        ? "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n"
        : "basicConstraints=CA:FALSE\nextendedKeyUsage=$_[3]\n");
    my ($crt, $key) = -e $x->dir . "/tls/ca/$ca.crt"
        ? ("ca/$ca.crt", "ca/$ca.key") : ("$ca.pem", "$ca.key");
    $x->command($x->{openssl}, qw(req -newkey ec -pkeyopt
        ec_paramgen_curve:P-256 -nodes), '-subj', "/O=Try Nightlight/CN=$name",
        '-keyout', "$name.key", '-out', "$name.csr");
    $x->command($x->{openssl}, qw(x509 -req -days 2 -CAcreateserial -in),
        "$name.csr", '-CA', $crt, '-CAkey', $key, '-extfile', "$name.ext",
        '-out', "$name.pem");
}
below('write-issuing', 'deep1', 1);
below('deep1', 'deep2', 1);
below('deep1', 'two', 0, 'clientAuth');
below('deep2', 'three', 0, 'clientAuth');
below('write-issuing', 'wrongusage', 0, 'serverAuth');
my $issuing = $x->read_file('tls/ca/write-issuing.crt');
my %pem = map { $_ => $x->read_file("tls/$_.pem") }
    qw(deep1 deep2 two three wrongusage);
$x->write_file('tls/two.crt', $pem{two} . $pem{deep1} . $issuing);
$x->write_file('tls/three.crt',
    $pem{three} . $pem{deep2} . $pem{deep1} . $issuing);
$x->write_file('tls/wrongusage.crt', $pem{wrongusage} . $issuing);

my ($code, $out) = $x->config_test();
is($code, 0, 'examples/mtls.conf is accepted') or diag($out);
# nginx from 1.25.1 on wants "http2 on;", which older ones do not know
unlike($out, qr/\[warn\](?!.*"listen \.\.\. http2" directive is deprecated)/,
    'without a warning');
$x->run();

# ---- who is let in ----

for my $tls (qw(1.2 1.3)) {
    for my $http (qw(http1.1 http2)) {
        my @v = ("--tlsv$tls", '--tls-max', $tls, "--$http");
        (my $name = "ok_${tls}_$http") =~ s/\W/_/g;
        my $r = $x->write_as('writer', $name, @v);
        is($r->{status}, 204, "TLS $tls, $http: the writer writes")
            or diag($r->{error}, $r->{body});
        is($r->{version}, $http eq 'http2' ? '2' : '1.1', 'by that protocol');
        $r = $x->as('reader', 'read', "/api/v1/query?query=$name", @v);
        like($r->{body}, qr/"value":\[[\d.]+,"1"\]/,
            "TLS $tls, $http: the reader reads");
    }
}
like($x->read_file('access.log'), qr{"POST /api/v1/write HTTP/2\.0" 204 TLSv1\.3 SUCCESS "CN=writer,O=Try Nightlight" [0-9A-F]{10,}$}m,
    'the access log says who wrote');
my @good = $x->names();
is(scalar @good, 4, 'all that is in the store');

# ---- who is not ----

# client, what it has, the reason without a CRL and with one: openssl says
# only the last of several errors, and where no CRL fits that is the last
my $NO_CRL = 'unable to get certificate CRL';
my @refused = (
    ['expired',    'an expired certificate',
        ('certificate has expired') x 2],
    ['early',      'one of tomorrow', ('certificate is not yet valid') x 2],
    ['wrongusage', 'one for servers',
        ('unsuitable certificate purpose|unsupported certificate purpose') x 2],
    ['leaf',       'one without its intermediate',
        ('unable to verify the first certificate') x 2],
    ['revoked',    'a revoked one', undef, 'certificate revoked'],
    ['selfsigned', 'a self-signed one', 'self-signed certificate', $NO_CRL],
    ['reader',     'one of the reading authority',
        'unable to get local issuer certificate', $NO_CRL],
    ['forged',     'one of a root with the same name',
        'unable to get local issuer certificate', $NO_CRL],
    ['three',      'a chain that is too long',
        'unable to get local issuer certificate'],
);

sub all_refused {
    my ($column, $tls) = @_;
    for my $case (@refused) {
        my ($who, $what, $why) = @$case[0, 1, $column];
        next unless defined $why;
        $x->mark();
        my $r = $x->write_as($who, 'bad', "--tlsv$tls", '--tls-max', $tls);
        is($r->{status}, 503, "TLS $tls, $what: refused");
        like($r->{body}, qr/^client certificate: FAILED:(?:$why)$/,
            'with the reason');
        like($r->{head}, qr/^Retry-After: 5\r?$/mi,
            'and asked to come again');
        ok($x->logged(qr/client SSL certificate verify error: \(\d+:(?:$why)\) while reading client request headers, client: 127\.0\.0\.1/),
            'nginx logs it');
        ok($x->logged(qr{"POST /api/v1/write HTTP/2\.0" 503 TLSv$tls FAILED:(?:$why) }, 'access.log'),
            'in the access log too');
        my ($first) = split /\|/, $why;
        like($manual, qr/\Q$first\E/, "OPERATIONS.md has it");
    }
    $x->mark();
    my $r = $x->write_as('', 'bad', "--tlsv$tls", '--tls-max', $tls);
    is($r->{status}, 503, "TLS $tls, no certificate: refused");
    is($r->{body}, "client certificate: NONE\n", 'with the reason');
    ok($x->logged(qr/client sent no required SSL certificate while reading client request headers/),
        'nginx logs it');
    like($manual, qr/client sent no required SSL certificate/,
        'OPERATIONS.md has it');
}
all_refused(3, $_) for qw(1.2 1.3);

for my $who ('', 'writer', 'forged', 'selfsigned') {
    my $r = $x->as($who, 'read', '/api/v1/query?query=ok_1_2_http2');
    is($r->{status}, 400, 'reading: 400 for ' . ($who || 'nobody'));
    unlike($r->{body}, qr/"result"/, 'and no data');
}

# ---- old protocols, and no TLS at all ----

$x->mark();
my $r = $x->write_as('writer', 'bad', '--tlsv1.0', '--tls-max', '1.1',
    '--ciphers', 'DEFAULT@SECLEVEL=0');
is($r->{status}, '000', 'TLS 1.1: no handshake');
like($r->{error}, qr/protocol version/, 'which the server says');
ok($x->logged(qr/SSL_do_handshake\(\) failed \(SSL: error:\w+:SSL routines::unsupported protocol\) while SSL handshaking/),
    'and nginx logs it');
like($manual, qr/unsupported protocol/, 'OPERATIONS.md has it');

$x->mark();
$r = $x->http('POST', '/api/v1/write', port => 'write', body => 'x',
    headers => \%Nightlight::Test::WRITE_HEADERS);
is($r->{status}, 400, 'plain HTTP on that port: 400');
ok($x->logged(qr/client sent plain HTTP request to HTTPS port/),
    'and nginx logs it');
like($manual, qr/client sent plain HTTP request to HTTPS port/,
    'OPERATIONS.md has it');

# ---- a client that is sent somewhere else ----

$r = $x->as('writer', 'write', '/api/v1/write', '--cacert',
    $x->dir . '/tls/read-ca.crt');
is($r->{exit}, 60, 'a client that does not trust the server sends nothing');

# ---- chains ----

# the new intermediates have no CRL, which all of a chain must have
$r = $x->write_as('two', 'bad');
is($r->{status}, 503, 'an intermediate without a CRL: refused');
like($r->{body}, qr/FAILED:$NO_CRL$/, 'and why');
$x->change(qr/ssl_crl +tls\/write-ca\.crl;/ => '');
$x->reload();
is($x->write_as('two', 'chain_two')->{status}, 204,
    'two intermediates are accepted');
all_refused(2, '1.3');

is_deeply([$x->names()], ['chain_two', @good], 'nothing of the refused is there');

$x->done();
