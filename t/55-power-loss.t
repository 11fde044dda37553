#!/usr/bin/perl
# The start after a power loss: the head is gone, the logs are read.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Load;
use Nightlight::Disk;

my $t = Nightlight::Test->new(formats => 1);
my $disk = Nightlight::Disk->new($t, 'fsync', 'fdatasync');
my $now = int(time() * 1000);
my $store = 'memory=48m retention=10y wal_sync=always';
$t->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/);

sub conf {
    my ($params) = @_;
    $t->write_conf(store => $params || $store);
}

# Ordinary memory of nginx's processes, and blocks of the head's files: KiB.
sub memory {
    my ($anon, $head) = (0, 0);
    for my $pid ($t->master, $t->children()) {
        $anon += $1 if $t->read_file("/proc/$pid/smaps_rollup")
            =~ /^Pss_Anon:\s+(\d+)/m;
    }
    $head += (stat $_)[12] / 2 for glob "$t->{dir}/head/*";
    return ($anon, $head);
}

sub power_loss {
    $t->kill9_all();
    unlink glob "$t->{dir}/head/*";
}

conf();
$t->run();

# ---- something to read: many series, and what a ledger knows ----

my ($n_series, $rounds, $batch) = (30000, 6, 3000);
for my $round (1 .. $rounds) {
    for (my $i = 0; $i < $n_series; $i += $batch) {
        my $pb = join '', map { Nightlight::Test::series_pb(
            { __name__ => 'wide', job => 'power', i => sprintf '%06d', $_ },
            [$now - 100_000 + $round * 10_000, $_ + $round]) }
            $i .. $i + $batch - 1;
        $t->write_pb($pb)->{status} == 204 or fail('written') && last;
    }
}
my $load = Nightlight::Load->new($t, writers => 2, series => 5);
$load->start();
$t->wait_for(sub { $load->acknowledged() > 500 }, 'load');

# a second log: its arena is sealed, and the disk does not take the block
$disk->mode('delay 1 fsync');
$t->http('POST', '/-/flush');
ok($t->wait_for(sub { $t->log_lines(qr/arena 1 is sealed/) }, 'sealed', 30),
    'an arena is sealed');
$disk->mode('hold fsync');
my $n = $load->acknowledged();
ok($t->wait_for(sub { $load->acknowledged() > $n + 200 }, 'load'),
    'writes go to the next one');
$load->stop();
my ($anon, $head) = memory();
diag("writing: $anon KiB, head $head KiB");
power_loss();
my @sizes = map { -s } glob "$t->{dir}/store/wal/*.wal";
is(scalar(grep { $_ > 1000 } @sizes), 2, 'two logs are left');

# ---- the first one is read, and the disk takes its time for the copy ----

$disk->mode('hold fdatasync');
$t->run(ready => 0);
my $ready;
ok($t->wait_for(sub {
    $ready = eval { $t->http('GET', '/-/ready') } or return;
    return $ready->{body} =~ / [1-9]\d? %/;
}, 'progress', 30), 'reading');
ok($disk->wait_held(1), 'the first log is read');
$ready = $t->http('GET', '/-/ready');
is($ready->{status}, 503, '/-/ready says 503');
like($ready->{body}, qr/The logs are being read: (\d+) of (\d+) bytes, (\d+) %/,
    'and how far it is');
my ($done, $total, $percent) = $ready->{body}
    =~ /(\d+) of (\d+) bytes, (\d+) %/;
my $bytes = 0;
$bytes += $_ for @sizes;
is($total, $bytes, 'of all logs');
cmp_ok($done, '>=', $sizes[0], 'the first one has been read');
is($percent, int($done * 100 / $total), 'percent');
ok($ready->{headers}{'retry-after'}, 'Retry-After');

my $r = $t->write_pb(Nightlight::Test::series_pb({ __name__ => 'early' },
    [$now, 1]));
is($r->{status}, 503, 'a write: 503');
like($r->{body}, qr/not ready: The logs are being read: \d+ of \d+ bytes/,
    'with the progress');
ok($r->{headers}{'retry-after'}, 'Retry-After');
is($t->http('GET', '/api/v1/query?query=wide')->{status}, 503, 'a query: 503');
is($t->http('GET', '/-/healthy')->{status}, 200, 'healthy all the same');
like($t->http('GET', '/metrics')->{body}, qr/^nightlight_ready 0$/m,
    'a metric of it');

my ($anon_now, $head_now) = memory();
diag("reading: $anon_now KiB, head $head_now KiB");
cmp_ok($anon_now, '<', $anon + 6 * 1024, 'no more memory than for writing');
cmp_ok($head_now, '<', $head + 2 * 1024, 'nor head');

$disk->mode('ok');
ok($t->wait_for(sub { $t->is_ready() }, 'ready', 30), 'ready');
is($t->query("count(wide)", time => $now / 1000)->{result}[0]{value}[1],
    $n_series, 'all series');
is($t->query("sum(count_over_time(wide[5m]))", time => $now / 1000)
    ->{result}[0]{value}[1], $n_series * $rounds, 'all samples');
is($t->query("sum(wide)", time => $now / 1000)->{result}[0]{value}[1],
    $n_series * ($n_series - 1) / 2 + $rounds * $n_series, 'their values');
$load->check('after the power loss');

# ---- once more, with less memory than it was written with ----

power_loss();
$store = 'memory=24m retention=10y';
conf();
$t->run();
ok($t->wait_for(sub { $t->is_ready() }, 'ready', 30), 'ready with less memory');
is($t->query("sum(count_over_time(wide[5m]))", time => $now / 1000)
    ->{result}[0]{value}[1], $n_series * $rounds, 'all samples');
$load->check('with less memory');

$t->done();
