#!/usr/bin/perl
# memory= is used up: arenas are flushed early; when that does not help, new
# series are refused, then everything; and it ends by itself.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my $t = Nightlight::Test->new();
$t->write_conf(store => 'memory=24m retention=10y wal_sync=1s',
    main => 'worker_processes 1;');
$t->run();

# ---- idle ----

# Memory of all processes, and of the head's files whoever has touched them.
sub server_bytes {
    my ($sum, $asan) = (0, 0);
    for my $pid ($t->master(), $t->children('.')) {
        my $is = 0;
        for (split /\n/, $t->read_file("/proc/$pid/smaps")) {
            $is = m{/head\.[0-9a-f]{32}\.} ? 1 : 0 if /^[0-9a-f]+-[0-9a-f]+ /;
            $asan = 1 if /libasan/;
            $sum += $1 * 1024 if !$is && /^Pss:\s+(\d+) kB/;
        }
    }
    return ($sum + $t->metric('nightlight_head_bytes'), $asan);
}

my ($idle, $asan) = server_bytes();
note("idle: $idle bytes");
cmp_ok($idle, '<=', $asan ? 1 << 30 : 15e6, 'an idle server is small');

my $ms = int(time()) * 1000 - 1_000_000;
my (%acked, $n_new, $n_samples);
$acked{new} = $acked{known} = $n_new = $n_samples = 0;

# Series that nobody has seen, of 2 KB each: the answer.
sub send_new {
    my ($n) = @_;
    my $pb = '';
    for my $i (1 .. $n) {
        $pb .= Nightlight::Test::series_pb({ __name__ => 'new',
                v => sprintf('%08d', $n_new++) . 'x' x 2000 }, [$ms, $i]);
    }
    my $r = $t->write_pb($pb);
    $acked{new} += $n if $r->{status} == 204;
    return $r;
}

# n samples of each of 64 series, of values that do not compress.
sub send_known {
    my ($n) = @_;
    my $pb = '';
    for my $i (1 .. 64) {
        $pb .= Nightlight::Test::series_pb({ __name__ => 'known', i => $i },
            map { [$ms + $_, rand()] } 1 .. $n);
    }
    my $r = $t->write_pb($pb);
    $ms += $n;
    $acked{known} += 64 * $n if $r->{status} == 204;
    $n_samples += 64 * $n;
    return $r;
}

sub stage { return $t->metric('nightlight_memory_stage') }

# ---- early flush ----

is(send_known(1)->{status}, 204, 'series that are known from now on');
is(stage(), 0, 'nothing happens yet');
for (1 .. 300) {
    last if $t->metric('nightlight_early_flushes_total') > 0;
    my $r = send_new(50);
    is($r->{status}, 204, 'while arenas are flushed early') or last;
}
cmp_ok($t->metric('nightlight_early_flushes_total'), '>=', 1,
    'an arena was flushed early');
is($t->metric('nightlight_series_refused_total'), 0, 'nothing was refused');
$t->wait_for(sub { stage() == 0 && $t->metric('nightlight_flushes_total') > 0 },
    'flushed');
is(send_known(1)->{status}, 204, 'known series are in the next arena');

# ---- the helper does not get on ----

my @helper = $t->helpers();
kill 'STOP', @helper;
my %seen;
my $r;
for (1 .. 300) {
    is(send_known(1)->{status}, 204, 'known series go on') or last;
    $r = send_new(50);
    $seen{stage()} = 1;
    last if $r->{status} != 204;
}
is($r->{status}, 503, 'new series are refused');
cmp_ok($r->{headers}{'retry-after'} || 0, '>', 0, 'for now');
like($r->{body}, qr/memory= is used up: no room for new series/, 'and told why');
is(stage(), 2, 'the metric says so');
ok($seen{1}, 'and said before that arenas should be flushed');
cmp_ok($t->metric('nightlight_series_refused_total'), '>', 0, 'counted');
for (1 .. 5) {
    is(send_known(1)->{status}, 204, 'known series go on');
}
is($t->value('count(known)', time => $ms / 1000), 64, 'and are read');

for (1 .. 300) {
    $r = send_known(50);
    last if $r->{status} != 204;
}
is($r->{status}, 503, 'then everything is refused');
cmp_ok($r->{headers}{'retry-after'} || 0, '>', 0, 'for now');
like($r->{body}, qr/memory= is used up: no room for samples/, 'and told why');
is(stage(), 3, 'the metric says so');
cmp_ok($t->metric('nightlight_samples_no_room_total'), '>', 0, 'counted');
is($t->value('count(known)', time => $ms / 1000), 64, 'queries go on');
is($t->http('GET', '/-/ready')->{status}, 200, 'the store is ready');

# ---- and gets on ----

kill 'CONT', @helper;
ok($t->wait_for(sub { stage() == 0 }, 'stage 0', 30), 'it ends by itself');
is(send_known(1)->{status}, 204, 'known series are taken');
is(send_new(10)->{status}, 204, 'new ones too');
sub there {
    my %n;
    $n{known} = $t->value('sum(count_over_time(known[1h]))', time => $ms / 1000);
    $n{new} = $t->value('count(last_over_time(new[1h]))', time => $ms / 1000);
    return \%n;
}

sub all_there {
    my ($what) = @_;
    my $n = there();
    cmp_ok($n->{known}, '>=', $acked{known}, "$what: acknowledged samples");
    cmp_ok($n->{known}, '<=', $n_samples, "$what: none twice");
    cmp_ok($n->{new}, '>=', $acked{new}, "$what: acknowledged series");
    cmp_ok($n->{new}, '<=', $n_new, "$what: none twice");
}

all_there('afterwards');
$t->kill9_all();
unlink glob($t->dir . '/head/*');
$t->run();
all_there('after the loss of the head');

$t->end();

# ---- what heavy queries took goes back ----

$t = Nightlight::Test->new();
$t->write_conf(store => 'memory=48m retention=10y wal_sync=1s',
    main => 'worker_processes 1;');
$t->run();

$ms = (int(time()) - 60) * 1000;
is($t->write_pb(join '', map {
    Nightlight::Test::series_pb({ __name__ => 'm', i => $_ }, [$ms, $_])
} 1 .. 2000)->{status}, 204, '2000 series');

# kB of the worker's memory; of it what is its own
sub smaps {
    my ($key) = @_;
    my ($pid) = $t->workers();
    open my $f, '<', "/proc/$pid/smaps_rollup" or die "smaps_rollup: $!";
    my ($kb) = map { /^\Q$key\E:\s+(\d+)/ ? $1 : () } <$f>;
    return $kb;
}

sub peak {
    my ($pid) = $t->workers();
    open my $f, '<', "/proc/$pid/status" or die "status: $!";
    my ($kb) = map { /^VmHWM:\s+(\d+)/ ? $1 : () } <$f>;
    return $kb;
}

# Rows of 5000 steps, of 2000 series.
sub heavy {
    my ($query) = @_;
    my $s = $t->connect();
    Nightlight::Test::send_all($s, Nightlight::Test::request_bytes('GET',
        '/api/v1/query_range?' . Nightlight::Test::form(query => $query,
            start => $ms / 1000, end => $ms / 1000 + 5, step => 0.001)));
    return $s;
}
is($t->value('count(m)', time => $ms / 1000), 2000, 'the worker is warm');
my $warm = smaps('Rss');
for my $q ('topk(1, sum by (i) (m))', 'bottomk(1, m or m)', 'quantile(0.5, m)') {
    my @s = map { heavy($q) } 1 .. 2;
    is(Nightlight::Test::read_response($_, 60)->{status}, 200, $q) for @s;
}
cmp_ok(peak(), '>', $warm + 100_000, 'they took more than 100 MB');
ok($t->wait_for(sub { smaps('Rss') < $warm + 32_000 }, 'RSS near idle', 30),
    'and gave it back')
    or diag("RSS $warm kB before, now " . smaps('Rss') . ' kB');

$t->done();
