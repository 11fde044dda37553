#!/usr/bin/perl
# examples/mtls.conf: who may do what.  A certificate of one authority gives
# no right of the other's; deleting needs a name and a password as well.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;
use Nightlight::TLS;

my $x = Nightlight::TLS->new();
my $dir = $x->dir . '/tls';
my $query = '/api/v1/query?query=count({__name__="m"})';
my $delete = '/api/v1/admin/tsdb/delete_series?match[]=m';
my @v = map { "--http$_" } qw(1.1 2);

# A client certificate that an authority signs as it likes.
sub signed {
    my ($name, $subject, $ca, $ext) = @_;
    $x->write_file("tls/$name.ext", $ext);
    $x->command($x->{openssl}, qw(req -newkey ec -pkeyopt
        ec_paramgen_curve:P-256 -nodes -subj), $subject, '-keyout',
        "$name.key", '-out', "$name.csr");
    $x->command($x->{openssl}, qw(x509 -req -days 2 -CAcreateserial -in),
        "$name.csr", '-CA', "$ca.crt", '-CAkey', "$ca.key", '-extfile',
        "$name.ext", '-out', "$name.pem");
    $x->write_file("tls/$name.crt", $x->read_file("tls/$name.pem"));
}
my $LEAF = "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n";
my $CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n";
sub append { my ($to, $from) = @_;
    $x->write_file($to, $x->read_file($to) . $x->read_file($from)) }

# a reader whose name looks like the administrator's
signed('liar', '/CN=admin,O=Try Nightlight', 'ca/read-issuing', $LEAF);
append('tls/liar.crt', 'tls/ca/read-issuing.crt');
# an authority below the readers' root that calls itself the writers'
signed('usurper', '/O=Try Nightlight/CN=write issuing', 'ca/read-root', $CA);
signed('fake', '/O=Try Nightlight/CN=writer', 'usurper', $LEAF);
append('tls/fake.crt', 'tls/usurper.pem');

# workers that may read no key, where the master is root
if ($> == 0 && (my $uid = getpwnam('www-data'))) {
    $x->change(qr/^user root;/m => 'user www-data;');
    chown $uid, -1, $x->dir . '/head';
}
$x->run();
is((stat "$dir/server.key")[2] & 077, 0, 'the key is closed to others');
is($x->write_as('writer', 'm')->{status}, 204, 'the writer writes');

for my $v (@v) {
    for my $who (qw(writer reader admin fake), '') {
        my $name = $who || 'nobody';
        is($x->write_as($who, 'm', $v)->{status}, $who eq 'writer' ? 204 : 503,
            "$v: $name writes" . ($who eq 'writer' ? '' : ' not'));
        my $may = $who eq 'reader' || $who eq 'admin';
        is($x->as($who, 'read', $query, $v)->{status}, $may ? 200 : 400,
            "$v: $name reads" . ($may ? '' : ' not'));
        my $want = $who eq 'admin' ? 401 : $who eq 'reader' ? 403 : 400;
        is($x->as($who, 'read', $delete, $v, '-X', 'POST')->{status},
            $want, "$v: $name deletes not: $want");
        is($x->as($who, 'read', $delete, $v, '-X', 'POST', '-u',
            'admin:wrong')->{status}, $want, "$v: nor with a wrong password");
        is($x->as($who, 'read', $delete, $v, '-X', 'POST', '-u',
            'admin:secret')->{status}, $want, "$v: nor with the right one")
            if $who ne 'admin';
    }
    is($x->as('liar', 'read', $delete, $v, '-X', 'POST', '-u',
        'admin:secret')->{status}, 403, "$v: a comma in a name is no name");
    # what the writing server does not have, and the reading one neither
    is($x->as('writer', 'write', $_, $v)->{status}, 404, "$v: $_ on 9443: 404")
        for '/api/v1/query?query=m', '/metrics', '/-/ready',
            '/api/v1/admin/tsdb/snapshot', '/federate', '/';
    is($x->as('reader', 'read', $_, $v)->{status}, 404, "$v: $_ on 9444: 404")
        for '/metrics', '/-/ready', '/', '/api/v1x';
    is($x->write_to('read', 'reader', 'm', $v)->{status}, 404,
        "$v: nothing takes samples on 9444");
    # ways around a prefix end at the same doors
    is($x->as('reader', 'read', $_, $v, '--path-as-is', '-X', 'POST')
        ->{status}, 403, "$v: $_: 403")
        for '/api/v1/./admin/tsdb/snapshot',
            '/api/v1//admin/tsdb/snapshot', '/api/v1/x/../admin/tsdb/snapshot',
            '/api/v1/%61dmin/tsdb/snapshot', '/api/v1/admin/tsdb/snapshot';
}
like($x->as('reader', 'read', '/api/v1/query', '-d', 'query=m')->{body},
    qr/"value":\[[\d.]+,"1"\]/, 'the reader asks by POST, as Grafana does');
like($x->as('reader', 'read', $query)->{body}, qr/"value":\[[\d.]+,"1"\]/,
    'nothing was deleted by all that');
is($x->as('admin', 'read', $delete, '-X', 'POST', '-u', 'admin:secret')
    ->{status}, 204, 'the administrator deletes, with both');
$x->wait_for(sub { $x->as('reader', 'read', $query)->{body}
    =~ /"result":\[\]/ }, 'it is gone');
is($x->write_as('writer', 'm2')->{status}, 204, 'and the writer writes on');
my $r = $x->as('admin', 'read', '/api/v1/admin/tsdb/snapshot', '-X', 'POST',
    '-u', 'admin:secret');
like($r->{body}, qr/"name":"/, 'and a snapshot');

# what is plain HTTP is only for this machine, and has no samples
is($x->http('GET', '/-/ready')->{status}, 200, '9101: ready');
is($x->http('GET', '/metrics')->{status}, 200, '9101: metrics');
is($x->http('GET', $_)->{status}, 404, "9101: no $_")
    for '/api/v1/query?query=1', '/api/v1/write';

# ---- one server for two authorities, told apart by the issuer's name ----

# It works as long as no authority lies about names: one can name another
# below it as it likes.  Hence the two servers of the example.
$x->write_file('tls/both.crt', $x->read_file('tls/write-ca.crt')
    . $x->read_file('tls/read-ca.crt'));
$x->change(qr/# ---- writing ----/ => <<'EOL');
    map $ssl_client_i_dn $may {
        default "";
        "CN=write issuing,O=Try Nightlight" write;
        "CN=read issuing,O=Try Nightlight"  read;
    }
    server {
        listen 127.0.0.1:%%PORT_both%% ssl http2;
        ssl_client_certificate tls/both.crt;
        location = /api/v1/write {
            if ($may != write) { return 403; }
            nightlight_write main;
        }
        location /api/v1/ {
            if ($may != read) { return 403; }
            nightlight_query main;
        }
    }
EOL
$x->reload();
is($x->write_to('both', 'writer', 'm3')->{status}, 204,
    'one server: the writer writes');
is($x->write_to('both', 'reader', 'bad')->{status}, 403, 'the reader does not');
is($x->as('reader', 'both', $query)->{status}, 200, 'the reader reads');
is($x->as('writer', 'both', $query)->{status}, 403, 'the writer does not');
is($x->write_to('both', '', 'bad')->{status}, 400, 'nobody does not');
is($x->write_to('both', 'fake', 'fooled')->{status}, 204,
    'an authority that lies about its name does: why there are two servers');

is_deeply([$x->names()], [qw(fooled m2 m3)],
    'the store has what was allowed');
$x->done();
