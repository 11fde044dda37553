#!/usr/bin/perl
# nginx -s reload, 200 times, under write and query load; each tenth changes
# retention, memory, format of blocks and limits.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;
use Nightlight::Load;

my $t = Nightlight::Test->new();
$t->write_conf(main => 'worker_processes 2;', self => '1s');
$t->run();

# Sizes of the master, which lives through all reloads, and of new workers.
sub usage {
    my ($pid) = @_;
    my ($rss) = $t->read_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
    my @maps = split /\n/, $t->read_file("/proc/$pid/maps");
    my @fds = glob "/proc/$pid/fd/*";
    return { rss => $rss || 0, maps => scalar @maps, fds => scalar @fds };
}

# Of those that leave the master has pipes.
sub settled {
    $t->wait_for(sub { !$t->children('is shutting down') }, 'old ones gone', 60);
}

sub conf {
    my ($years, $mb, $format) = @_;
    $format ||= $mb == 48 ? 'dense' : 'portable';
    $t->write_conf(main => 'worker_processes 2;', self => '1s',
        store => "memory=${mb}m retention=${years}y wal_sync=${years}s "
            . "block_format=$format",
        server => "nightlight_max_labels ${years}0;");
}

my $load = Nightlight::Load->new($t, writers => 2, readers => 1, series => 5,
    pause => 0.002);
$load->start();
$t->reload() for 1 .. 5;
settled();
my $master = usage($t->master);
my ($w) = $t->workers();
my $worker = usage($w);

my $reloads = $ENV{TEST_NIGHTLIGHT_RELOADS} || 195;
for my $i (1 .. $reloads) {
    conf($i % 20 ? (5, 56) : (10, 48)) if $i % 10 == 0;
    $t->reload() or last;
}
conf(5, 56);
$t->reload();
settled();
($w) = $t->workers();
my $worker_after = usage($w);
my $master_after = usage($t->master);
$load->stop();

is($load->errors(), '', 'no error status while reloading');
$load->check('after ' . ($reloads + 6) . ' reloads');

# what is in blocks gets the format of now, whichever it had
is($t->http('POST', '/-/flush')->{status}, 204, 'flush');
for my $format ('dense', 'portable') {
    conf(5, 56, $format);
    $t->reload();
    ok($t->wait_for(sub {
        my %n = $t->http('GET', '/metrics')->{body}
            =~ /^nightlight_format_blocks\{format="(\w+)"\} (\d+)/mg;
        return $n{$format} && $n{$format} == $n{dense} + $n{portable};
    }, "all $format", 60), "all blocks are $format");
    $load->check("as $format blocks");
}
is($t->write({ __name__ => 'wide', map { ("l$_" => 'x') } 1 .. 55 },
    [int(time() * 1000), 1]), 400, 'the last limit of labels holds');
ok($t->wait_for(sub { $t->write({ __name__ => 'old' },
    [int((time() - 7 * 31_536_000) * 1000), 1]) == 400 }, 'retention'),
    'and the last retention');
# a thread that has run a query has mappings of its own, so workers differ
for my $k (qw(maps fds)) {
    cmp_ok($master_after->{$k}, '<=', $master->{$k} + 4, "master's $k are flat");
    cmp_ok($worker_after->{$k}, '<=', $worker->{$k} + 80, "worker's $k are flat");
}
cmp_ok($master_after->{rss}, '<=', $master->{rss} * 1.25 + 1024,
    "master's memory is flat");
cmp_ok($worker_after->{rss}, '<=', $worker->{rss} * 1.5 + 20480,
    "worker's memory is flat");
ok($t->wait_for(sub { $t->children() == 3 }, 'old processes gone', 20),
    'no old process stays');

$t->done();
