package Nightlight::Peers;

# Real programs as clients: finding them, running them, asking them.
#
#   my $vmalert = peer($t, 'vmalert');       # TEST_VMALERT, or that of PATH
#   my ($code, $out) = capture($t, [$promtool, 'query', ...]);
#   my $r = ask($t, 'prom', 'query', query => 'up');    # any server's API
#   prometheus($t, $binary, 'prom', $yaml, '--more');   # runs one, ready
#   my $sink = sink($t, 'alerts', sub { my ($request) = @_; (200, '') });
#
# Programs that are not there are a reason to skip, and only that.

use warnings;
use strict;

use Exporter 'import';
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use Test::More ();
use Text::ParseWords qw(shellwords);
use Time::HiRes qw(time);

use Nightlight::Test;

our @EXPORT_OK = qw(peer peers version capture ask plain answers prometheus
    ready sink requests snippet commands);

# Path of a program: that of the environment (TEST_NAME), or of PATH; undef.
sub peer {
    my ($t, $prog, $env) = @_;
    my $var = $env || 'TEST_' . uc($prog =~ s/-/_/gr);
    my $path = $ENV{$var} || $t->program($prog) or return;
    return $path if -x $path;
    Test::More::diag("$var: no program $path");
    return;
}

# The program of PATH and a newer one of TEST_NAME35, as far as they are there.
sub peers {
    my ($t, $prog) = @_;
    my $newer = 'TEST_' . uc($prog) . '35';
    my @all = grep { $_ } peer($t, $prog),
        $ENV{$newer} && -x $ENV{$newer} ? $ENV{$newer} : undef;
    Test::More::diag("$newer does not name a newer $prog: one is asked")
        if @all && !$ENV{$newer};
    return @all;
}

# "2.42" of what Prometheus or promtool says about itself.
sub version {
    my ($prog) = @_;
    my $out = `$prog --version 2>&1`;
    return $out =~ /version (\d+\.\d+)/ ? $1 : 'of unknown version';
}

# Runs a command to its end: (exit code, standard output, standard error).
# in => text for its standard input; timeout => seconds.
sub capture {
    my ($t, $cmd, %p) = @_;
    my $base = $t->dir . '/capture';
    $t->write_file('capture.in', defined $p{in} ? $p{in} : '');
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        $SIG{INT} = $SIG{TERM} = 'DEFAULT';
        open(STDIN, '<', "$base.in") or POSIX::_exit(126);
        open(STDOUT, '>', "$base.out") or POSIX::_exit(126);
        open(STDERR, '>', "$base.err") or POSIX::_exit(126);
        chdir $p{chdir} if $p{chdir};
        exec(@$cmd) or POSIX::_exit(127);
    }
    push @{$t->{pids}}, $pid;
    my $code;
    $t->wait_for(sub {
        return 0 unless waitpid($pid, POSIX::WNOHANG) == $pid;
        $code = $? & 127 ? "signal " . ($? & 127) : $? >> 8;
        return 1;
    }, "end of @$cmd[0, 1]", $p{timeout} || 60);
    if (!defined $code) {
        kill 'KILL', $pid;
        waitpid($pid, 0);
        $code = 'timeout';
    }
    $t->{pids} = [grep { $_ != $pid } @{$t->{pids}}];
    return ($code, map { $t->read_file("capture.$_") } 'out', 'err');
}

# An API call of the server at a named port: decoded JSON, code, raw, headers.
# prefix => what stands before the path (default /api/v1); body parameters by
# post => 1.
sub ask {
    my ($t, $port, $path, @params) = @_;
    my $r = $t->http('GET', "/api/v1/$path"
        . (@params ? '?' . Nightlight::Test::form(@params) : ''),
        port => $port);
    my $json = eval { JSON::PP->new->utf8->decode($r->{body}) };
    return { code => $r->{status}, raw => $r->{body}, headers => $r->{headers},
        ref $json eq 'HASH' ? %$json : () };
}

# The series of an answer, one JSON text each, sorted.
sub plain {
    my ($r) = @_;
    my $c = JSON::PP->new->canonical;
    return ($r->{raw}) unless ref $r->{data};
    my $data = ref $r->{data} eq 'HASH' && exists $r->{data}{result}
        ? $r->{data}{result} : $r->{data};
    return sort map { ref $_ ? $c->encode($_) : $_ }
        ref $data eq 'ARRAY' ? @$data : $c->encode($data);
}

sub answers { return join "\n", plain(ask(@_)) }

# A snippet of docs/CLIENTS.md by its name, with this test's server in it, and
# what else is to be replaced (text => text; each has to be there).
sub snippet {
    my ($t, $name, %replace) = @_;
    my $doc = $t->read_file("$Nightlight::Test::ROOT/docs/CLIENTS.md");
    my ($text) = $doc =~ /^<!-- snippet: \Q$name\E -->\n```\w+\n(.*?)^```$/ms
        or die "no snippet $name in docs/CLIENTS.md";
    my $at = '127.0.0.1:' . $t->port('http');
    $text =~ s/nightlight:9101/$at/g;
    for my $from (sort { length $b <=> length $a } keys %replace) {
        $text =~ s/\Q$from\E/$replace{$from}/g or die "$name: no $from in it";
    }
    return $text;
}

# Its commands, each a list of words without the program's name.
sub commands {
    my $text = snippet(@_);
    $text =~ s/\\\n\s*/ /g;
    return map { my @w = shellwords($_); [@w[1 .. $#w]] } split /\n/, $text;
}

# Waits until the server at a named port is ready.
sub ready {
    my ($t, $port, $path, $seconds) = @_;
    return $t->wait_for(sub {
        my $r = eval { $t->http('GET', $path || '/-/ready', port => $port) };
        return $r && $r->{status} == 200;
    }, "$port ready", $seconds || 30);
}

# Runs a Prometheus with the configuration, listening at a named port.
# Returns its pid, or nothing if it does not come up.
sub prometheus {
    my ($t, $binary, $name, $yaml, @args) = @_;
    $t->write_file_expand("$name.yml", $yaml);
    my $dir = $t->dir;
    mkdir "$dir/$name";
    my $pid = $t->spawn($binary, "--config.file=$dir/$name.yml",
        "--storage.tsdb.path=$dir/$name",
        '--web.listen-address=127.0.0.1:' . $t->port($name), '--log.level=warn',
        @args);
    return $pid if ready($t, $name);
    Test::More::diag($t->read_file('logs/prometheus.log'));
    return;
}

# An HTTP server of few lines at a named port.  The code gets a request
# {method, uri, headers, body, n} and returns status, body and a content type;
# what came is kept for requests().
sub sink {
    my ($t, $name, $code) = @_;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
        LocalPort => $t->port($name), ReuseAddr => 1) or die "sink: $!";
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        $SIG{INT} = $SIG{TERM} = 'DEFAULT';
        $SIG{PIPE} = 'IGNORE';
        eval { _serve($t, $name, $listen, $code); 1 } or print STDERR $@;
        POSIX::_exit(0);
    }
    push @{$t->{pids}}, $pid;
    return $pid;
}

sub _serve {
    my ($t, $name, $listen, $code) = @_;
    open(my $log, '>>', $t->dir . "/sink.$name") or die;
    $log->autoflush(1);
    my ($json, $n) = (JSON::PP->new->latin1->canonical, 0);
    while (my $s = $listen->accept) {
        my $req = _request($s) or next;
        $req->{n} = $n++;
        my ($status, $body, $type) = $code->($req);
        $req->{status} = $status;
        # before the answer: who has it may look at once
        print $log $json->encode($req), "\n";
        $body = '' unless defined $body;
        Nightlight::Test::send_all($s, "HTTP/1.1 $status X\r\n"
            . 'Content-Length: ' . length($body) . "\r\n"
            . 'Content-Type: ' . ($type || 'text/plain') . "\r\n"
            . "Connection: close\r\n\r\n$body");
        close $s;
    }
}

sub _request {
    my ($s) = @_;
    my $data = '';
    my ($head, $len);
    local $SIG{ALRM} = sub { die "sink: timeout\n" };
    alarm(30);
    while (1) {
        my $end = index($data, "\r\n\r\n");
        if ($end >= 0) {
            $head = substr($data, 0, $end);
            $len = $head =~ /^content-length: *(\d+)/im ? $1 : 0;
            last if length $data >= $end + 4 + $len;
        }
        Nightlight::Test::read_some($s, \$data) or last;
    }
    alarm(0);
    return unless defined $head;
    my ($line, @h) = split /\r\n/, $head;
    my ($method, $uri) = split / /, $line;
    return { method => $method, uri => $uri,
        headers => { map { /^([^:]+): *(.*)/ ? (lc $1 => $2) : () } @h },
        body => substr($data, length($head) + 4, $len) };
}

# What a sink has got so far.
sub requests {
    my ($t, $name) = @_;
    my $json = JSON::PP->new->latin1;
    return map { $json->decode($_) } split /\n/, $t->read_file("sink.$name");
}

1;
