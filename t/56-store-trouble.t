#!/usr/bin/perl
# What operators and accidents do to a store that is in use.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;
use Nightlight::Load;

my $t = Nightlight::Test->new(formats => 1);
my $now = int(time() * 1000);

# head= of the configuration; the store's other parameters are fixed.
sub conf {
    my ($head, $store) = @_;
    mkdir $t->dir . "/$head";
    $t->write_conf(store => $store || 'memory=24m retention=10y');
    my $conf = $t->read_file('nginx.conf');
    $conf =~ s{head=\S+}{"head=" . $t->dir . "/$head"}e;
    $t->write_file('nginx.conf', $conf);
}

sub head_files {
    my ($head) = @_;
    return grep { !/lock$/ } glob $t->dir . "/$head/head.*";
}

# Size of the largest arena.
sub arena_bytes {
    my ($head) = @_;
    my ($most) = sort { $b <=> $a } map { -s $_ || 0 }
        grep { /\.\d+$/ } head_files($head);
    return $most || 0;
}

# A request that a worker has taken and whose last byte is still to come:
# (socket, byte).
sub begin_slowly {
    my ($name) = @_;
    my $req = $t->write_bytes(Nightlight::Test::snappy(
        Nightlight::Test::series_pb({ __name__ => 'slow', n => $name },
            [$now, 1])), headers => { Expect => '100-continue' });
    my ($head, $body) = split /(?<=\r\n\r\n)/, $req, 2;
    my $s = $t->connect();
    Nightlight::Test::send_all($s, $head);
    my $answer = '';
    until ($answer =~ /\r\n\r\n/) {
        sysread($s, $answer, 1024, length $answer) or last;
    }
    like($answer, qr/^HTTP\S+ 100 /, 'a worker waits for the body');
    Nightlight::Test::send_all($s, substr($body, 0, -1));
    return ($s, substr($body, -1));
}

sub end_slowly {
    my ($s, $rest) = @_;
    Nightlight::Test::send_all($s, $rest);
    return Nightlight::Test::read_response($s)->{status};
}

# Names of the samples of `slow` that are there.
sub slow {
    return join ' ', sort map { $_->{metric}{n} }
        @{$t->query('slow', time => $now / 1000)->{result}};
}

conf('head');
$t->run();
is($t->write({ __name__ => 'slow', n => 'a' }, [$now, 1]), 204, 'written');

# ---- head= is changed while an old worker still has a request ----

my @slow = begin_slowly('b');
conf('elsewhere');
$t->reload();
ok($t->wait_for(sub { $t->is_ready() }, 'ready', 20), 'ready in another place');
is(slow(), 'a', 'with what was there');
my $status = end_slowly(@slow);
is($status, 503, 'a request of the old head is not acknowledged');
is($t->write({ __name__ => 'slow', n => 'c' }, [$now, 1]), 204, 'writes go on');
is(slow(), 'a c', 'and are there');
is(scalar(head_files('head')), 0, 'the old head left no files');

# ---- memory= is changed ----

my $load = Nightlight::Load->new($t, writers => 2, series => 5);
$load->start();

for my $m (96, 24) {
    conf('elsewhere', "memory=${m}m retention=10y");
    $t->reload();
    ok($t->wait_for(sub {
        my $size = arena_bytes('elsewhere') / 1048576;
        return $size <= $m / 3 && $size > $m / 3 - 1;
    }, 'arenas', 20), "arenas of memory=${m}m after a reload");
}

# ---- files of the head go ----

my $rebuilt = 0;
for my $what ('all', 'the control file', 'an arena') {
    my $n = $load->acknowledged();
    $t->wait_for(sub { $load->acknowledged() > $n + 100 }, 'load');
    my @files = head_files('elsewhere');
    @files = grep { /ctl$/ } @files if $what eq 'the control file';
    @files = (grep { /\.\d+$/ } @files)[0] if $what eq 'an arena';
    is(unlink(@files), scalar @files, "$what removed");
    $rebuilt++;
    ok($t->wait_for(sub {
        $t->log_lines(qr/its files have been removed/) == $rebuilt
    }, 'a new head', 20), 'the head is given up');
    ok($t->wait_for(sub { $t->is_ready() }, 'ready', 20), 'ready again');
    $n = $load->acknowledged();
    ok($t->wait_for(sub { $load->acknowledged() > $n + 100 }, 'load'),
        'writes go on');
}

$load->stop();
$load->check('after all that');
is(scalar(@{$t->query('count by (s, w) (load) > 1')->{result}}), 0,
    'no label set twice');
is(slow(), 'a c', 'what was refused stays away');

$t->done();
