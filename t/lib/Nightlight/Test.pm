package Nightlight::Test;

# A real nginx with the module, in a directory of its own, for one test file.
#
#   my $t = Nightlight::Test->new();
#   $t->write_conf('worker_processes 2;');    # extra lines by section, see below
#   $t->run();
#   is($t->write({ __name__ => 'm' }, [1000, 1.5]), 204);
#   is_deeply($t->query('m', time => 1)->{result}, [...]);
#   $t->done();                               # stops, checks logs, plans
#
# Core Perl modules only.  Names follow those of nginx's own tests.  Nothing
# sleeps for luck: wait_for() polls a condition and has a deadline.
#
# Environment: TEST_NGINX_BINARY (default: the distribution's nginx),
# TEST_NIGHTLIGHT_MODULE, TEST_NGINX_GLOBALS (lines for the main section of
# the standard configuration), TEST_NGINX_LEAVE=1 (keep the directory),
# TEST_NGINX_CATLOG=1 (print error.log at the end).

use warnings;
use strict;

use Cwd qw(abs_path);
use Errno ();
use Fcntl qw(:flock);
use File::Basename qw(dirname);
use File::Path qw(remove_tree);
use File::Spec;
use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP;
use POSIX qw(:sys_wait_h);
use Test::More ();
use Time::HiRes qw(time sleep);

my $n_ports = 0;
our $ROOT = abs_path(dirname(__FILE__) . '/../../..');

# How much longer things may take in a module with sanitizers (tools/test-asan).
our $SLOW = ($ENV{TEST_NGINX_GLOBALS} || '') =~ /ASAN/ ? 5 : 1;

sub new {
    my ($class, %opt) = @_;
    my $self = bless {
        dir    => tempdir('nightlight-test-XXXXXX', TMPDIR => 1),
        ports  => {},
        pids   => [],
        nginx  => $ENV{TEST_NGINX_BINARY} || _find('nginx')
                  || '/usr/sbin/nginx',
        module => $ENV{TEST_NIGHTLIGHT_MODULE}
                  || "$ROOT/build/ngx_http_nightlight_module.so",
        expect_log => [],
        %opt,
    }, $class;

    Test::More::plan(skip_all => "no nginx binary") unless -x $self->{nginx};
    Test::More::BAIL_OUT("module not built: $self->{module}")
        unless -e $self->{module};
    mkdir "$self->{dir}/$_" for qw(temp logs store head);
    chmod 0755, $self->{dir};
    $self->{port} = $self->port('http');
    $SIG{INT} = $SIG{TERM} = sub { $self->_cleanup(); exit 1 };
    return $self;
}

sub _find {
    my ($prog) = @_;
    for my $d (split(/:/, $ENV{PATH} || ''), '/usr/sbin', '/usr/bin') {
        return "$d/$prog" if -x "$d/$prog";
    }
    return;
}

# Path of a program, or undef.
sub program { my ($self, $prog) = @_; return _find($prog); }

# A port on 127.0.0.1 that is free, the same for a name.  Below the range from
# which the kernel gives ports to clients: a server that is started again must
# find its port free.  It is ours by a lock on a file of its number, until this
# process ends: of two tests that look at once one would find
# free what the other is about to use.
my @port_locks;

sub port {
    my ($self, $name) = @_;
    return $self->{ports}{$name} ||= _take_port();
}

sub _take_port {
    my $dir = File::Spec->tmpdir() . "/nightlight-ports-$>";
    mkdir $dir;
    for my $try (0 .. 2000) {
        my $no = 10000 + ($$ * 10 + $n_ports++) % 20000;
        open my $lock, '>>', "$dir/$no" or die "$dir/$no: $!";
        flock($lock, LOCK_EX | LOCK_NB) or next;
        my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
            LocalPort => $no, Proto => 'tcp', ReuseAddr => 1) or next;
        push @port_locks, $lock;
        return $no;
    }
    die "no port: $!";
}

sub dir { $_[0]->{dir} }

sub write_file {
    my ($self, $name, $content) = @_;
    open(my $f, '>', "$self->{dir}/$name") or die "$name: $!";
    binmode $f;
    print $f $content;
    close $f or die "$name: $!";
}

sub read_file {
    my ($self, $name) = @_;
    open(my $f, '<', $name =~ m{^/} ? $name : "$self->{dir}/$name")
        or return '';
    binmode $f;
    local $/;
    my $c = <$f>;
    return defined $c ? $c : '';
}

# Replaces %%TESTDIR%%, %%MODULE%% and %%PORT_name%%.
sub write_file_expand {
    my ($self, $name, $content) = @_;
    $content =~ s/%%TESTDIR%%/$self->{dir}/g;
    $content =~ s/%%MODULE%%/$self->{module}/g;
    $content =~ s/%%PORT_(\w+)%%/$self->port($1)/ge;
    $self->write_file($name, $content);
}

# Are the store's blocks dense?  NLT_TEST_FORMAT=dense or =portable says so;
# else a test that was made with formats => 1 takes one of the two by its
# seed (NLT_TEST_SEED or the time), and others have portable ones.
sub dense {
    my ($self) = @_;
    return $self->{dense} if defined $self->{dense};
    my $format = $ENV{NLT_TEST_FORMAT}
        || ($self->{formats} && ($ENV{NLT_TEST_SEED} || time()) % 2
            ? 'dense' : 'portable');
    $format = 'portable' if $self->{portable};
    Test::More::note("NLT_TEST_FORMAT=$format") if $self->{formats};
    return $self->{dense} = $format eq 'dense';
}

# The standard configuration; keys add to it or replace parts:
#   main, events, http, server: extra lines; store: parameters of the store;
#   self: arguments of nightlight_self; locations: all locations;
#   daemon: "on" where nginx has to be one (USR2).
sub write_conf {
    my ($self, %p) = @_;
    my $user = $> == 0 ? 'user root;' : '';
    my $store = defined $p{store} ? $p{store}
              : "memory=48m retention=10y wal_sync=1s";
    $store .= ' block_format=dense'
        if $store !~ /block_format=/ && $self->dense();
    my $self_line = $p{self} ? "nightlight_self main $p{self};" : '';
    my $locations = defined $p{locations} ? $p{locations} : <<'EOF';
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOF
    my $main = defined $p{main} ? $p{main} : 'worker_processes 2;';
    $main .= "\n$ENV{TEST_NGINX_GLOBALS}" if $ENV{TEST_NGINX_GLOBALS};
    $_ = defined $_ ? $_ : '' for @p{qw(events http server)};
    $self->write_file_expand('nginx.conf', <<"EOF");
load_module %%MODULE%%;
$user
daemon @{[$p{daemon} || 'off']};
$main
pid %%TESTDIR%%/nginx.pid;
error_log %%TESTDIR%%/error.log info;

events { worker_connections 512; $p{events} }

http {
    access_log %%TESTDIR%%/access.log;
    client_body_temp_path %%TESTDIR%%/temp/body;
    proxy_temp_path       %%TESTDIR%%/temp/proxy;
    fastcgi_temp_path     %%TESTDIR%%/temp/fastcgi;
    uwsgi_temp_path       %%TESTDIR%%/temp/uwsgi;
    scgi_temp_path        %%TESTDIR%%/temp/scgi;
    nightlight_store main path=%%TESTDIR%%/store head=%%TESTDIR%%/head $store;
    $self_line
    $p{http}

    server {
        listen 127.0.0.1:%%PORT_http%%;
        client_max_body_size 32m;
        $p{server}
$locations
    }
}
EOF
}

# nginx -t: (exit code, output).
sub config_test {
    my ($self) = @_;
    my $out = `$self->{nginx} -t -p $self->{dir}/ -c nginx.conf -e $self->{dir}/test.log 2>&1`;
    return ($? >> 8, $out);
}

# Starts nginx and waits until it is ready (unless ready => 0).
sub run {
    my ($self, %p) = @_;
    $self->spawn($self->{nginx}, '-p', "$self->{dir}/", '-c',
        "$self->{dir}/nginx.conf", '-e', "$self->{dir}/error.log");
    $self->{master} = $self->{pids}[-1];
    if ($self->read_file('nginx.conf') =~ /^daemon on;/m) {
        waitpid(pop @{$self->{pids}}, 0);
        $self->adopt($self->read_file('nginx.pid') + 0);
    }
    return $self if defined $p{ready} && !$p{ready};
    # a worker that has just been forked does not have its title yet
    my $conf = $self->read_file('nginx.conf');
    my $n = $conf =~ /master_process off/ ? 0
        : $conf =~ /worker_processes (\d+);/ ? $1 : 1;
    my $dead;
    $self->wait_for(sub {
        return $dead = 1 if waitpid($self->{master}, WNOHANG) > 0;
        return $self->is_ready() && $self->workers() >= $n;
    }, 'nginx ready', 30) && !$dead
        or die "nginx not ready:\n" . $self->read_file('error.log');
    return $self;
}

sub is_ready {
    my ($self) = @_;
    my $r = eval { $self->http('GET', '/-/ready') };
    return $r && $r->{status} == 200;
}

# A child process with its output in logs/NAME.log; killed at the end.
sub spawn {
    my ($self, @cmd) = @_;
    my ($name) = $cmd[0] =~ m{([^/]+)$};
    my $log = "$self->{dir}/logs/$name.log";
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        open(STDIN, '<', '/dev/null');
        open(STDOUT, '>>', $log);
        open(STDERR, '>>', $log);
        $self->{before_exec}->($name) if $self->{before_exec};
        exec(@cmd) or POSIX::_exit(127);
    }
    push @{$self->{pids}}, $pid;
    return $pid;
}

sub master { $_[0]->{master} }

# Makes a process that is not our child the master of this test.
sub adopt {
    my ($self, $pid) = @_;
    $self->{master} = $pid;
    push @{$self->{pids}}, $pid;
}

sub _gone {
    my ($pid) = @_;
    return waitpid($pid, WNOHANG) == $pid || !kill(0, $pid) || _zombie($pid);
}

# Pids of the children of a process by their title.
sub children {
    my ($self, $what, $parent) = @_;
    $parent ||= $self->{master};
    my @pids;
    for my $dir (glob '/proc/[0-9]*') {
        my $stat = $self->read_file("$dir/stat") or next;
        my ($pid, $state, $ppid) = $stat =~ /^(\d+) \(.*\) (\S) (\d+)/s
            or next;
        next unless $ppid == $parent && $state ne 'Z';
        my $cmd = $self->read_file("$dir/cmdline");
        push @pids, $pid if !$what || $cmd =~ /$what/;
    }
    return @pids;
}

sub workers { $_[0]->children('worker process(?! is shutting)', $_[1]) }
sub helpers { $_[0]->children('cache manager process(?! is shutting)', $_[1]) }

sub reload {
    my ($self) = @_;
    my %old = map { $_ => 1 } $self->workers();
    kill 'HUP', $self->{master};
    $self->wait_for(sub {
        my @now = $self->workers();
        return @now && !grep { $old{$_} } @now;
    }, 'new workers after reload');
}

sub stop {
    my ($self, $signal) = @_;
    my $pid = $self->{master} or return;
    kill $signal || 'QUIT', $pid;
    my $ok = $self->wait_for(sub { _gone($pid) }, 'nginx stopped', 20);
    if (!$ok) {
        kill 'KILL', $pid, $self->children('', $pid);
        waitpid($pid, 0);
    }
    $self->{pids} = [grep { $_ != $pid } @{$self->{pids}}];
    undef $self->{master};
    return $ok;
}

# kill -9 of one worker, of the helper, of everything.  Returns the pids.
sub kill9_worker {
    my ($self) = @_;
    my @w = $self->workers();
    my $pid = $w[rand @w];
    kill 'KILL', $pid;
    $self->wait_for(sub { !kill(0, $pid) || _zombie($pid) }, 'worker dead');
    return $pid;
}

sub kill9_helper {
    my ($self) = @_;
    my @h = $self->helpers();
    kill 'KILL', @h;
    $self->wait_for(sub { !grep { kill(0, $_) && !_zombie($_) } @h },
        'helper dead');
    return @h;
}

sub kill9_all {
    my ($self) = @_;
    my $pid = $self->{master};
    my @all = ($pid, $self->children());
    kill 'STOP', $pid;      # so that nothing is respawned meanwhile
    kill 'KILL', @all;
    waitpid($pid, 0);
    $self->wait_for(sub { !grep { kill(0, $_) && !_zombie($_) } @all },
        'all dead');
    $self->{pids} = [grep { $_ != $pid } @{$self->{pids}}];
    undef $self->{master};
    return @all;
}

sub _zombie {
    my ($pid) = @_;
    open(my $f, '<', "/proc/$pid/stat") or return 1;
    my $stat = <$f>;
    return 1 unless defined $stat;
    # a leader may be dead while its threads still hold the sockets
    my @threads = glob "/proc/$pid/task/*";
    return $stat =~ /\) Z / && @threads <= 1;
}

# USR2: starts the new binary beside the old; returns the new master's pid.
sub usr2 {
    my ($self) = @_;
    kill 'USR2', $self->{master};
    my $new;
    $self->wait_for(sub {
        my $pid = $self->read_file('nginx.pid');
        chomp $pid;
        $new = $pid if $pid && $pid != $self->{master} && kill(0, $pid);
        return $new && $self->workers($new);
    }, 'new master') or return;
    return $new;
}

# Polls until the condition holds; false (and a diagnostic) after seconds.
sub wait_for {
    my ($self, $cond, $what, $seconds) = @_;
    my $end = time() + ($seconds || 15);
    while (1) {
        my $r = $cond->();
        return $r if $r;
        last if time() > $end;
        sleep 0.02;
    }
    Test::More::diag("timed out waiting for: $what");
    return;
}

# ---- HTTP ----

sub connect {
    my ($self, $name) = @_;
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $self->port($name || 'http'), Proto => 'tcp',
        Timeout => 5) || die "connect: $!\n";
}

# One request on a connection of its own: {status, headers, body}.
sub http {
    my ($self, $method, $uri, %p) = @_;
    my $s = $self->connect($p{port});
    my $req = request_bytes($method, $uri, $p{headers}, $p{body});
    return $self->http_raw($s, $req, $p{timeout});
}

# A request as bytes; headers that are undef are left out.
sub request_bytes {
    my ($method, $uri, $headers, $body) = @_;
    my %h = (Host => 'localhost', Connection => 'close', %{$headers || {}});
    $h{'Content-Length'} = length $body
        if defined $body && !exists $h{'Transfer-Encoding'}
            && !exists $h{'Content-Length'};
    return "$method $uri HTTP/1.1\r\n"
        . join('', map { "$_: $h{$_}\r\n" } grep { defined $h{$_} } sort keys %h)
        . "\r\n" . (defined $body ? $body : '');
}

# Sends bytes on a connection that stays open and reads one answer.
sub exchange {
    my ($s, $req) = @_;
    send_all($s, $req);
    return read_response($s);
}

sub send_all {
    my ($s, $req) = @_;
    local $SIG{PIPE} = 'IGNORE';
    for (my $off = 0; $off < length $req; ) {
        my $n = syswrite($s, $req, length($req) - $off, $off);
        next if !defined $n && $!{EINTR};
        return 0 unless defined $n;
        $off += $n;
    }
    return 1;
}

# One answer with a Content-Length, without a body, or chunked.
sub read_response {
    my ($s, $timeout) = @_;
    my $data = '';
    local $SIG{ALRM} = sub { die "http timeout\n" };
    alarm($timeout || 60);
    while (1) {
        my $end = index($data, "\r\n\r\n");
        if ($end >= 0) {
            my $head = substr($data, 0, $end + 4);
            last if $head =~ m{^HTTP/\S+ (?:204|304|1\d\d)};
            last if $head =~ /^Content-Length: (\d+)\r/mi
                && length $data >= $end + 4 + $1;
            last if $head =~ /^Transfer-Encoding: chunked/mi
                && $data =~ /\r\n0\r\n\r\n\z/;
        }
        read_some($s, \$data) or last;
    }
    alarm(0);
    return parse_response($data);
}

# Sends bytes, reads to the end, parses one answer.
sub http_raw {
    my ($self, $s, $req, $timeout) = @_;
    local $SIG{PIPE} = 'IGNORE';
    local $SIG{ALRM} = sub { die "http timeout\n" };
    alarm($timeout || 60);
    my $off = 0;
    while ($off < length $req) {
        my $n = syswrite($s, $req, length($req) - $off, $off);
        next if !defined $n && $!{EINTR};
        last unless defined $n;
        $off += $n;
    }
    my $data = '';
    1 while read_some($s, \$data);
    alarm(0);
    return parse_response($data);
}

# Adds what has come to $$data; false at the end.
sub read_some {
    my ($s, $data) = @_;
    while (1) {
        my $n = sysread($s, $$data, 65536, length $$data);
        return $n if defined $n || !$!{EINTR};
    }
}

sub parse_response {
    my ($data) = @_;
    my ($head, $body) = split(/\r\n\r\n/, $data, 2);
    return { status => 0, headers => {}, body => '' } unless defined $head;
    my ($line, @h) = split(/\r\n/, $head);
    my ($status) = ($line || '') =~ m{^HTTP/\S+ (\d+)};
    my %headers = map { /^([^:]+):\s*(.*)/ ? (lc $1 => $2) : () } @h;
    $body = '' unless defined $body;
    if (($headers{'transfer-encoding'} || '') eq 'chunked') {
        my $out = '';
        while ($body =~ s/^([0-9a-fA-F]+)[^\r\n]*\r\n//) {
            my $n = hex $1 or last;
            $out .= substr($body, 0, $n);
            $body = length $body > $n + 2 ? substr($body, $n + 2) : '';
        }
        $body = $out;
    }
    return { status => $status || 0, headers => \%headers, body => $body };
}

sub escape {
    my ($s) = @_;
    utf8::encode($s) if utf8::is_utf8($s);
    $s =~ s/([^A-Za-z0-9_.~-])/sprintf('%%%02X', ord $1)/ge;
    return $s;
}

sub form { my (%p) = @_; join '&', map { my $k = $_;
    map { escape($k) . '=' . escape($_) } ref $p{$k} ? @{$p{$k}} : $p{$k} }
    sort keys %p }

# GET of an API endpoint: decoded JSON (numbers and strings as they came).
sub api {
    my ($self, $path, %p) = @_;
    my $r = $self->http('GET', "/api/v1/$path" . (%p ? '?' . form(%p) : ''));
    my $json = eval { JSON::PP->new->utf8->decode($r->{body}) } || {};
    return { code => $r->{status}, raw => $r->{body}, %$json };
}

# The same by POST of a form.
sub api_post {
    my ($self, $path, %p) = @_;
    my $r = $self->http('POST', "/api/v1/$path", body => form(%p),
        headers => { 'Content-Type' => 'application/x-www-form-urlencoded' });
    my $json = eval { JSON::PP->new->utf8->decode($r->{body}) } || {};
    return { code => $r->{status}, raw => $r->{body}, %$json };
}

# One value of /metrics, undef if it is not there.
sub metric {
    my ($self, $name) = @_;
    return $self->http('GET', '/metrics')->{body} =~ /^\Q$name\E (\S+)$/m
        ? $1 : undef;
}

# Value of the only series of an instant query: a string, undef if none.
sub value {
    my ($self, $query, %p) = @_;
    my $r = $self->query($query, %p)->{result};
    return @$r ? $r->[0]{value}[1] : undef;
}

# data of an instant query, or of a range query when step is given; dies on
# an error answer.
sub query {
    my ($self, $query, %p) = @_;
    my $r = $self->api($p{step} ? 'query_range' : 'query', query => $query,
        %p);
    die "query $query: $r->{code} $r->{raw}" unless ($r->{status} || '') eq 'success';
    return $r->{data};
}

# ---- remote_write 1.0 ----

sub varint {
    my ($n) = @_;
    my $out = '';
    $n = $n & ~0;    # two's complement of negative numbers
    while ($n >= 0x80) { $out .= chr($n & 0x7f | 0x80); $n >>= 7; }
    return $out . chr $n;
}

sub field { my ($no, $bytes) = @_;
    return varint($no << 3 | 2) . varint(length $bytes) . $bytes; }

# Labels: a hash (sorted) or an array of pairs (kept in that order).
sub labels_pb {
    my ($labels) = @_;
    my @pairs = ref $labels eq 'HASH'
        ? map { [$_, $labels->{$_}] } sort keys %$labels : @$labels;
    return join '', map { my @p = @$_; utf8::encode($_) for @p;
        field(1, field(1, $p[0]) . field(2, $p[1])) } @pairs;
}

# A sample [t_ms, value]; value as a number, or \"8 bytes" little-endian.
sub sample_pb {
    my ($t, $v) = @{$_[0]};
    return field(2, "\x09" . (ref $v ? $$v : pack('d<', $v))
        . "\x10" . varint($t));
}

# A TimeSeries message of labels and samples.
sub series_pb {
    my ($labels, @samples) = @_;
    return field(1, labels_pb($labels) . join('', map { sample_pb($_) } @samples));
}

# Snappy block format, literals only: valid for any decoder.
sub snappy {
    my ($data) = @_;
    my $out = varint(length $data);
    for (my $i = 0; $i < length $data; $i += 65536) {
        my $part = substr($data, $i, 65536);
        my $n = length($part) - 1;
        $out .= $n < 60 ? chr($n << 2) : chr(61 << 2) . pack('v', $n);
        $out .= $part;
    }
    return $out;
}

our %WRITE_HEADERS = (
    'Content-Encoding' => 'snappy',
    'Content-Type' => 'application/x-protobuf',
    'X-Prometheus-Remote-Write-Version' => '0.1.0',
);

# Sends a request body (uncompressed protobuf); the response.
sub write_pb {
    my ($self, $pb, %p) = @_;
    return $self->write_raw(snappy($pb), %p);
}

# Sends a body as it is, with the headers of remote_write (undef: without
# that header): the response.
sub write_raw {
    my ($self, $body, %p) = @_;
    return $self->http('POST', $p{uri} || '/api/v1/write', body => $body, %p,
        headers => { %WRITE_HEADERS, %{$p{headers} || {}} });
}

# The same as the bytes of one request.
sub write_bytes {
    my ($self, $body, %p) = @_;
    return request_bytes('POST', $p{uri} || '/api/v1/write',
        { Connection => 'keep-alive', %WRITE_HEADERS, %{$p{headers} || {}} },
        $body);
}

# write(labels, [t, v], [t, v], labels, [t, v] ...): the status.
sub write {
    my ($self, @args) = @_;
    my $pb = '';
    while (@args) {
        my $labels = shift @args;
        my @samples;
        push @samples, shift @args while @args && ref $args[0] eq 'ARRAY'
            && !ref $args[0][0];
        $pb .= series_pb($labels, @samples);
    }
    return $self->write_pb($pb)->{status};
}

# ---- the end ----

# Log lines that the test provokes: regular expressions.
sub expect_log { my ($self, @re) = @_; push @{$self->{expect_log}}, @re; }

sub log_lines {
    my ($self, $re) = @_;
    return grep { /$re/ } split(/\n/, $self->read_file('error.log'));
}

# Stops everything, checks the logs, ends the plan.
sub done {
    my ($self) = @_;
    $self->end();
    Test::More::done_testing();
}

# The same without the end of the plan: others follow.
sub end {
    my ($self) = @_;
    $self->stop() if $self->{master};
    $self->_cleanup(1);
    my $log = $self->read_file('error.log');
    my @bad = grep { /\[(?:alert|emerg)\]|Sanitizer|runtime error/ }
        split(/\n/, $log . join '', map { $self->read_file($_) }
            glob "$self->{dir}/logs/*.log");
    for my $re (@{$self->{expect_log}}) { @bad = grep { !/$re/ } @bad }
    # our lines that somebody has to act on: where it is, and "; what to do"
    push @bad, grep { _says_nothing($_) } split /\n/, $log;
    Test::More::is(join("\n", @bad), '', 'no alerts, no sanitizer reports, '
        . 'and what is logged says what to do');
    Test::More::diag($log) if $ENV{TEST_NGINX_CATLOG};
    $self->{finished} = 1;
}

# A line of warn or worse, of ours, without a place or without what to do.
sub _says_nothing {
    my ($line) = @_;
    my ($said) = $line =~ /\[(?:warn|error|crit|alert)\] [^"]*?nightlight: (.*)/
        or return 0;
    return 0 if $said =~ /^slow query: /;
    return $said !~ /; \S/ || $said !~ m{"/|, client: | in \S+:\d+};
}

sub _cleanup {
    my ($self) = @_;
    for my $pid (@{$self->{pids}}) {
        my @kids = $self->children('', $pid);
        kill 'KILL', $pid, @kids;
        waitpid($pid, 0);
    }
    $self->{pids} = [];
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    $self->_cleanup();
    if ($ENV{TEST_NGINX_LEAVE}) {
        Test::More::diag("left in $self->{dir}");
    } else {
        remove_tree($self->{dir});
    }
}

1;
