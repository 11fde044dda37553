package Nightlight::Load;

# Writers that keep a ledger of what was acknowledged, and readers.
#
#   my $load = Nightlight::Load->new($t, writers => 2, series => 20);
#   $load->start();
#   ... reload, kill, upgrade ...
#   $load->stop();
#   $load->check();      # every acknowledged sample is there, once, right
#
# A writer is a process with one keep-alive connection; it sends one sample of
# each of its series per request, one millisecond apart, and like Prometheus
# sends a request again until it is acknowledged (5xx, or no answer).  The
# value of a sample is a function of series and time, so that a wrong value
# cannot look right.

use warnings;
use strict;

use IO::Socket::INET;
use POSIX ();
use Test::More ();
use Time::HiRes qw(time sleep);

use Nightlight::Test;

sub new {
    my ($class, $t, %opt) = @_;
    return bless { t => $t, writers => 2, readers => 0, series => 20,
        churn => 0, pids => [], t0 => int(time() * 1000) - 3_000_000, run => 0,
        %opt }, $class;
}

sub value { my ($w, $s, $t) = @_; return ($t % 1_000_000) * 8 + $w + $s / 128 }

sub start {
    my ($self) = @_;
    my $t = $self->{t};
    die 'too many runs' if ++$self->{run} > 10;
    for my $w (0 .. $self->{writers} - 1) {
        $self->_fork(sub { $self->_writer($w) });
    }
    for my $r (0 .. $self->{readers} - 1) {
        $self->_fork(sub { $self->_reader($r) });
    }
    return $self;
}

sub _fork {
    my ($self, $code) = @_;
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        $SIG{INT} = $SIG{TERM} = 'DEFAULT';
        $SIG{PIPE} = 'IGNORE';
        eval { $code->(); 1 } or print STDERR "load: $@";
        POSIX::_exit(0);
    }
    push @{$self->{pids}}, $pid;
    push @{$self->{t}{pids}}, $pid;    # killed if the test dies
}

# Answer of one request on a kept connection: status, or 0.
sub _exchange {
    my ($sock, $req) = @_;
    local $SIG{ALRM} = sub { die "timeout\n" };
    my $status = 0;
    my $close = 1;
    eval {
        alarm(10);
        my $off = 0;
        while ($off < length $req) {
            my $n = syswrite($sock, $req, length($req) - $off, $off);
            die "write\n" unless $n;
            $off += $n;
        }
        my $data = '';
        until ($data =~ /\r\n\r\n/) {
            sysread($sock, $data, 65536, length $data) or die "read\n";
        }
        my ($head, $body) = split(/\r\n\r\n/, $data, 2);
        my ($st) = $head =~ m{^HTTP/1.1 (\d+)};
        my ($len) = $head =~ /^content-length: *(\d+)/im;
        while (defined $len && length $body < $len) {
            sysread($sock, $body, 65536, length $body) or die "body\n";
        }
        $status = $st;
        $close = $head =~ /^connection: *close/im || !defined $len && $st != 204;
    };
    alarm(0);
    return ($status, $close);
}

sub _writer {
    my ($self, $w) = @_;
    my $t = $self->{t};
    open(my $ledger, '>>', "$t->{dir}/ledger.$w") or die;
    $ledger->autoflush(1);
    open(my $errors, '>>', "$t->{dir}/errors.w$w") or die;
    $errors->autoflush(1);
    my $time = $self->{t0} + ($self->{run} - 1) * 300_000;
    my ($sock, $n, $used) = (undef, 0, 0);
    while (!-e "$t->{dir}/load.stop") {
        $time++;
        $n++;
        my $gen = $self->{churn} ? int($n / $self->{churn}) : 0;
        my $pb = join '', map { Nightlight::Test::series_pb(
            { __name__ => 'load', g => "$self->{run}.$gen", s => "s$_",
                w => "w$w" },
            [$time, value($w, $_, $time)]) } 0 .. $self->{series} - 1;
        my $body = Nightlight::Test::snappy($pb);
        my $req = "POST /api/v1/write HTTP/1.1\r\nHost: l\r\n"
            . join('', map { "$_: $Nightlight::Test::WRITE_HEADERS{$_}\r\n" }
                sort keys %Nightlight::Test::WRITE_HEADERS)
            . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
        while (1) {
            last if -e "$t->{dir}/load.stop" && !$sock;
            if (!$sock) {
                $used = 0;
                $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                    PeerPort => $t->{port}, Proto => 'tcp', Timeout => 5);
                if (!$sock) { sleep 0.01; next }
            }
            my ($status, $close) = _exchange($sock, $req);
            undef $sock if $close || !$status;
            if ($status == 204) {
                print $ledger "$time $gen\n";
                $used++;
                last;
            }
            # a server may close an idle kept connection at any time; on a
            # fresh one, no answer is an error
            print $errors "$status\n" if $status || !$used;
            sleep 0.01;
        }
        sleep $self->{pause} if $self->{pause};
    }
}

sub _reader {
    my ($self, $r) = @_;
    my $t = $self->{t};
    open(my $errors, '>>', "$t->{dir}/errors.r$r") or die;
    $errors->autoflush(1);
    my @q = ('sum by (w) (count_over_time(load[1h]))', 'count(load)',
        'topk(3, rate(load[5m]))', 'load{s="s1"}[1h]');
    my $n = 0;
    while (!-e "$t->{dir}/load.stop") {
        my $q = $q[$n++ % @q];
        my $res = eval { $t->http('GET', '/api/v1/query?'
            . Nightlight::Test::form(query => $q)) };
        print $errors(($res ? $res->{status} : 0), "\n")
            unless $res && $res->{status} == 200;
        $self->{reads}++;
    }
}

sub stop {
    my ($self) = @_;
    my $t = $self->{t};
    $t->write_file('load.stop', '');
    for my $pid (@{$self->{pids}}) {
        waitpid($pid, 0);
        $t->{pids} = [grep { $_ != $pid } @{$t->{pids}}];
    }
    $self->{pids} = [];
    unlink "$t->{dir}/load.stop";
}

# Statuses that were not acknowledgements, of writers and readers.
sub errors {
    my ($self) = @_;
    my %n;
    $n{$_}++ for map { split /\n/, $self->{t}->read_file($_) }
        glob "$self->{t}{dir}/errors.*";
    return join ', ', map { "$n{$_} x $_" } sort keys %n;
}

sub acknowledged {
    my ($self) = @_;
    my $n = 0;
    for my $w (0 .. $self->{writers} - 1) {
        $n += () = $self->{t}->read_file("ledger.$w") =~ /\n/g;
    }
    return $n * $self->{series};
}

# An answer, from a store that may be rebuilding its head just now.
sub _query {
    my ($t, @args) = @_;
    my $r;
    $t->wait_for(sub {
        $r = eval { $t->query(@args) };
        return $r || $@ !~ /: 503 /;
    }, 'an answer', 30);
    die $@ unless $r;
    return $r->{result};
}

# Compares the ledger with what the store answers.
sub check {
    my ($self, $name) = @_;
    my $t = $self->{t};
    my ($lost, $wrong, $twice, $n) = (0, 0, 0, 0);
    my $at = ($self->{t0} + $self->{run} * 300_000) / 1000;
    my $range = $self->{run} * 300 + 100;
    for my $w (0 .. $self->{writers} - 1) {
        my @acked = map { [split / /] } split /\n/, $t->read_file("ledger.$w");
        for my $s (0 .. $self->{series} - 1) {
            my %have;
            my $r = _query($t, "load{w=\"w$w\",s=\"s$s\"}[${range}s]",
                time => $at);
            for my $series (@$r) {
                for my $p (@{$series->{values}}) {
                    my $ms = sprintf '%.0f', $p->[0] * 1000;
                    $twice++ if exists $have{$ms};
                    $have{$ms} = $p->[1];
                    $wrong++ if $p->[1] != value($w, $s, $ms);
                }
            }
            for my $a (@acked) { $n++; $lost++ unless exists $have{$a->[0]} }
        }
    }
    $name = $name ? "$name: " : '';
    Test::More::cmp_ok($n, '>', 0, "${name}$n acknowledged samples");
    Test::More::is($lost, 0, "${name}none lost");
    Test::More::is($wrong, 0, "${name}no wrong value");
    $twice += @{_query($t, 'count by (s, w, g) (load) > 1')};
    Test::More::is($twice, 0, "${name}none twice");
}

1;
