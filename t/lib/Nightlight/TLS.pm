package Nightlight::TLS;

# examples/mtls.conf with the certificates of examples/make-ca.sh, and clients
# that have one.
#
#   my $x = Nightlight::TLS->new();      # a Nightlight::Test, not yet running
#   $x->change(qr/memory=48m/ => 'memory=24m');    # of the configuration
#   $x->run();
#   is($x->write_as('writer', 'm')->{status}, 204);
#   is($x->as('reader', read => '/api/v1/query?query=m')->{status}, 200);
#
# Ports are called write, read and http.  A client is the name of its files
# in tls/; '' has none.

use warnings;
use strict;
use base 'Nightlight::Test';

use IPC::Open2;
use Test::More ();
use Time::HiRes qw(time);

sub new {
    my ($class, %opt) = @_;
    my $self = $class->SUPER::new(%opt);
    for (qw(openssl curl)) {
        $self->{$_} = $self->program($_)
            or Test::More::plan(skip_all => "needs $_");
    }
    # nginx's user reads the password file
    chmod 0755, $self->dir;
    $self->ca();
    chmod 0755, $self->dir . '/tls';
    chmod 0644, $self->dir . '/tls/admins';
    my $conf = $self->read_file("$Nightlight::Test::ROOT/examples/mtls.conf");
    my %port = (9443 => 'write', 9444 => 'read', 9101 => 'http',
        9560 => 'ocsp');
    $conf =~ s/127\.0\.0\.1:(\d+)/"127.0.0.1:" . $self->port($port{$1})/ge;
    $conf =~ s{modules/ngx_http_nightlight_module\.so}{$self->{module}};
    $conf =~ s/^error_log .*$/error_log error.log info; daemon off;/m;
    $conf =~ s/path=store/path=store head=head/;
    $conf = "user root;\n$conf" if $> == 0;
    $self->{conf} = $conf;
    $self->write_file('nginx.conf', $conf);
    return $self;
}

# examples/make-ca.sh with tls/ as its directory.
sub ca {
    my ($self, @args) = @_;
    my @env = map { /^[A-Z_]+=/ ? shift @args : () } @args;
    my @cmd = ('env', @env, "$Nightlight::Test::ROOT/examples/make-ca.sh",
        $self->dir . '/tls', @args);
    $self->command(@cmd);
    chmod 0755, $self->dir . '/tls';
}

# Runs a program in tls/ to its end; dies unless it is content.
sub command {
    my ($self, @cmd) = @_;
    my $pid = open(my $out, '-|');
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        open(STDERR, '>&', \*STDOUT);
        chdir $self->dir . '/tls';
        exec(@cmd) or POSIX::_exit(127);
    }
    local $/;
    my $text = <$out>;
    close $out or die "@cmd: " . ($text || $?);
    return $text;
}

# Replaces in the configuration, which must have it.
sub change {
    my ($self, @pairs) = @_;
    while (my ($re, $with) = splice(@pairs, 0, 2)) {
        $with =~ s/%%PORT_(\w+)%%/$self->port($1)/ge;
        $with =~ s/%%TESTDIR%%/$self->dir/ge;
        $self->{conf} =~ s/$re/$with/ or die "not in mtls.conf: $re";
    }
    $self->write_file('nginx.conf', $self->{conf});
}

# A request by curl: {status, version, headers, body, exit, error}.
sub as {
    my ($self, $who, $port, $uri, @args) = @_;
    my $d = $self->dir . '/tls';
    my @cert = $who ? ('--cert', "$d/$who.crt", '--key', "$d/$who.key") : ();
    my @cmd = ($self->{curl}, '-sS', '-g', '-i', '-m', 30,
        '--cacert', "$d/server-ca.crt", '-w', '\n%{http_code} %{http_version}',
        '-H', 'Expect:', '--stderr', $self->dir . '/curl.err', @cert, @args,
        'https://127.0.0.1:' . $self->port($port) . $uri);
    open(my $out, '-|', @cmd) or die "curl: $!";
    local $/;
    my $got = <$out>;
    close $out;
    my $exit = $? >> 8;
    my ($head, $body, $status, $version)
        = $got =~ /^(?:(.*?)\r\n\r\n)?(.*)\n(\d+) (\S+)\z/s;
    return { status => $status, version => $version, body => $body,
        head => $head || '', exit => $exit,
        error => $self->read_file('curl.err') };
}

# One sample of series NAME by remote_write.
sub write_as {
    my ($self, $who, $name, @args) = @_;
    return $self->write_to('write', $who, $name, @args);
}

sub write_to {
    my ($self, $port, $who, $name, @args) = @_;
    $self->write_file('body', Nightlight::Test::snappy(
        Nightlight::Test::series_pb({ __name__ => $name },
            [int(time() * 1000), 1])));
    my %h = %Nightlight::Test::WRITE_HEADERS;
    return $self->as($who, $port, '/api/v1/write',
        '--data-binary', '@' . $self->dir . '/body',
        (map { ('-H', "$_: $h{$_}") } sort keys %h), @args);
}

# Names that are in the store, as the reader sees them.
sub names {
    my ($self) = @_;
    my $r = $self->as('reader', 'read', '/api/v1/label/__name__/values');
    my ($list) = $r->{body} =~ /"data":\[(.*)\]/ or return;
    return grep { !/^(?:nightlight|nginx)_/ } $list =~ /"([^"]+)"/g;
}

# Waits for a line in a log that was written after mark().
sub mark { my ($self) = @_;
    $self->{mark}{$_} = -s $self->dir . "/$_" || 0 for qw(error.log access.log) }

sub logged {
    my ($self, $re, $log) = @_;
    $log ||= 'error.log';
    return $self->wait_for(sub {
        return substr($self->read_file($log), $self->{mark}{$log} || 0) =~ $re;
    }, "$log: $re", 10);
}

# A TLS connection by openssl s_client that stays open.
sub session {
    my ($self, $who, $port, @args) = @_;
    my $d = $self->dir . '/tls';
    my @cert = $who ? ('-cert', "$d/$who.crt", '-cert_chain', "$d/$who.crt",
        '-key', "$d/$who.key") : ();
    my $pid = open2(my $out, my $in, $self->{openssl}, 's_client',
        '-verify_quiet', '-verify_return_error', '-servername', 'localhost',
        '-connect', '127.0.0.1:' . $self->port($port), '-CAfile',
        "$d/server-ca.crt", '-ign_eof', @cert, @args);
    push @{$self->{pids}}, $pid;
    return bless { pid => $pid, in => $in, out => $out, got => '' },
        'Nightlight::TLS::Session';
}

package Nightlight::TLS::Session;

# Sends a GET and waits for the whole answer; its status, or 0 when the
# connection is closed.
sub get {
    my ($self, $host, $uri) = @_;
    local $SIG{PIPE} = 'IGNORE';
    local $SIG{ALRM} = sub { die "s_client timeout\n" };
    alarm(20);
    my $start = length $self->{got};
    syswrite $self->{in}, "GET $uri HTTP/1.1\r\nHost: $host\r\n\r\n";
    while (1) {
        my $new = substr($self->{got}, $start);
        if ($new =~ m{HTTP/1\.1 (\d+).*?\r\n\r\n}s) {
            my ($status, $end) = ($1, $+[0]);
            last if $new !~ /^Content-Length: (\d+)\r/mi && $new !~ /chunked/;
            if ($new =~ /^Content-Length: (\d+)\r/mi
                ? length $new >= $end + $1 : $new =~ /\r\n0\r\n\r\n/)
            {
                alarm(0);
                $self->{answer} = $new;
                return $status;
            }
        }
        Nightlight::Test::read_some($self->{out}, \$self->{got}) or last;
    }
    alarm(0);
    return 0;
}

# Reads to the end: true when the peer closes.
sub closed {
    my ($self) = @_;
    local $SIG{ALRM} = sub { die "still open\n" };
    return eval {
        alarm(20);
        1 while Nightlight::Test::read_some($self->{out}, \$self->{got});
        alarm(0);
        1;
    };
}

sub close {
    my ($self) = @_;
    kill 'TERM', $self->{pid};
    waitpid($self->{pid}, 0);
    close $self->{in};
    close $self->{out};
}

1;
