#!/usr/bin/perl
# The disk is full: writes are refused with 503, reads go on, and when there
# is room again the store goes on by itself, with all that it acknowledged.
# First the log cannot grow, then blocks cannot be written.
#
# Needs to mount a small tmpfs: root, or a user namespace of its own.
use strict;
use warnings;
use FindBin;
use Test::More;
use Time::HiRes qw(time sleep);

BEGIN {
    my $probe = "mount -t tmpfs -o size=64k none /mnt 2>/dev/null";
    if (!$ENV{NIGHTLIGHT_DISK_FULL}) {
        # mounts of this test are seen by it alone
        my @ns = $> == 0 ? ('unshare', '-m') : ('unshare', '-rm');
        if (system("@ns sh -c '$probe'") != 0) {
            plan(skip_all => 'cannot mount a tmpfs');
        }
        $ENV{NIGHTLIGHT_DISK_FULL} = 1;
        exec(@ns, $^X, (map { "-I$_" } @INC), $0) or die "unshare: $!";
    }
}

use Nightlight::Load;
use Nightlight::Test;

my (@mounted, $t);

sub mount {
    my ($dir, $size) = @_;
    -d $dir or mkdir $dir or die "$dir: $!";
    system('mount', '-t', 'tmpfs', '-o', "size=$size", 'none', $dir) == 0
        or die "mount $dir";
    push @mounted, $dir;
}

# Takes all that is free but for `left` bytes.
sub fill {
    my ($dir, $left) = @_;
    open(my $f, '>', "$dir/ballast") or die "$dir/ballast: $!";
    my $size = 0;
    while (my $n = syswrite($f, "\0" x 4096)) { $size += $n }
    close $f;
    truncate("$dir/ballast", $size - $left) or die $! if $left;
    return;
}

END {
    my $status = $?;
    if ($t) { eval { $t->stop() } }
    system('umount', $_) for reverse @mounted;
    $? = $status;
}

sub acknowledges {
    my ($load, $what) = @_;
    my $n = $load->acknowledged();
    ok($t->wait_for(sub { $load->acknowledged() > $n + 100 },
        'writes', 30), "$what: writes are acknowledged");
}

sub one { return $t->write_pb(Nightlight::Test::series_pb(
    { __name__ => 'one', i => $_[0] }, [int(time() * 1000), $_[0]])) }

# ---- the log ----

$t = Nightlight::Test->new(formats => 1);
my $dir = $t->dir . '/store';
mount($dir, '12m');
$t->write_conf(store => 'memory=24m retention=10y wal_sync=1s');
$t->run();
my $load = Nightlight::Load->new($t, writers => 2, readers => 1, series => 20);
$load->start();
acknowledges($load, 'room');
fill($dir, 0);
ok($t->wait_for(sub { $load->errors() =~ /x 503/ }, '503', 30),
    'no room for the log: 503');
my $r = { status => 204 };
for my $i (1 .. 500) {
    $r = one($i);
    last if $r->{status} != 204;
}
is($r->{status}, 503, 'of all writers');
like($r->{body}, qr/No space left on device|new one is being made/,
    'which say why');
cmp_ok($r->{headers}{'retry-after'} || 0, '>=', 1, 'and to come again');
cmp_ok($t->metric('nightlight_wal_errors_total'), '>', 0, 'counted');
my $reads = () = $t->read_file('access.log') =~ m{/query\?.* 200 }g;
ok($t->wait_for(sub { (() = $t->read_file('access.log')
    =~ m{/query\?.* 200 }g) > $reads + 5 }, 'reads'), 'reads go on');
is($t->http('GET', '/-/ready')->{status}, 200, 'the store is ready');
cmp_ok(scalar($t->log_lines(qr/No space left/)), '>=', 1, 'logged');
cmp_ok(scalar($t->log_lines(qr/\[(?:crit|error|alert)\]/)), '<', 40,
    'without a flood');

unlink "$dir/ballast";
acknowledges($load, 'room again');
my $after = one(1000);
is($after->{status}, 204, 'of anybody') or diag($after->{body});
$load->stop();
$load->check('log');
like($load->errors(), qr/^(?:\d+ x 503(?:, )?)*$/, 'nothing but 503');
$t->kill9_all();
unlink glob($t->dir . '/head/*');
$t->run();
$load->check('log, after the loss of the head');

# ---- blocks ----

ok($t->stop(), 'stopped');
rename("$dir/blocks", "$dir/blocks.there") or die $!;
mount("$dir/blocks", '8m');
system('mv', $_, "$dir/blocks/") == 0 or die 'mv' for glob "$dir/blocks.there/*";
$t->run();
is($t->http('POST', '/-/flush')->{status}, 204, 'flush');
$t->wait_for(sub { $t->metric('nightlight_flushes_total') > 0 }, 'flush');
$load = Nightlight::Load->new($t, writers => 2, readers => 1, series => 20,
    run => 1);
$load->start();
acknowledges($load, 'blocks');
fill("$dir/blocks", 0);
my $failed = $t->metric('nightlight_flush_errors_total');
is($t->http('POST', '/-/flush')->{status}, 204, 'flush');
ok($t->wait_for(sub { $t->metric('nightlight_flush_errors_total') > $failed },
    'flush error'), 'no room for blocks: the flush fails');
acknowledges($load, 'no room for blocks');
is($t->value('count(last_over_time(load{g="2.0"}[1h]))',
    time => $load->{t0} / 1000 + 600), 40, 'what was to be flushed is read');
cmp_ok(scalar($t->log_lines(qr/stays in memory: .*No space left/)), '>=', 1,
    'logged');
unlink "$dir/blocks/ballast";
my $flushes = $t->metric('nightlight_flushes_total');
ok($t->wait_for(sub { $t->metric('nightlight_flushes_total') > $flushes },
    'flush', 30), 'room again: the flush is repeated');
acknowledges($load, 'room for blocks again');
$load->stop();
$load->check('blocks');
$t->kill9_all();
unlink glob($t->dir . '/head/*');
$t->run();
$load->check('blocks, after the loss of the head');

$t->done();
