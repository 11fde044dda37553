#!/usr/bin/perl
# What has to go: by time, by size, for a disk that is nearly full.
use strict;
use warnings;
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);
use Nightlight::Test;

my $t = Nightlight::Test->new(formats => 1);
my $dir = $t->dir;

sub conf {
    my ($store) = @_;
    return $t->write_conf(store => "memory=24m wal_sync=100ms $store",
        main => 'worker_processes 1;');
}

sub reload {
    conf(@_);
    return ok($t->reload(), "reloaded with $_[0]");
}

sub blocks {
    return map { [split / /] } grep { /^block / }
        split /\n/, $t->read_file('store/MANIFEST');
}

# A block of its own for these samples.
sub block {
    my ($name, @samples) = @_;
    my $before = $t->metric('nightlight_flushes_total');
    # a reload that changes the border takes a moment
    ok($t->wait_for(sub {
        $t->write({ __name__ => $name }, @samples) == 204 }, 'taken', 10),
        "wrote $name");
    $t->http('POST', '/-/flush');
    return ok($t->wait_for(sub {
        $t->metric('nightlight_flushes_total') > $before }, 'flush', 20),
        "$name is in a block");
}

# ---- time ----

conf('retention=1h');
$t->run();
my $border = 5;    # seconds until it is past the retention
my $ms = int((time() - 3600 + $border) * 1000);
block('old', [$ms, 1]);
is($t->value('old', time => $ms / 1000), 1, 'it is served');
is(scalar blocks(), 1, 'one block');
my ($served, $gone);
my $end = $ms / 1000 + 3600;
# the border follows the data, too
ok($t->wait_for(sub {
    $t->write({ __name__ => 'new' }, [int(time() * 1000), 1]);
    my $at = time();
    $served = $at if defined $t->value('old', time => $ms / 1000);
    return !grep { $_->[2] == $ms } blocks() }, 'block gone', 30), 'it went');
$gone = time();
cmp_ok($gone, '>', $end, 'not before its time');
cmp_ok($gone, '<', $end + 10, 'but soon after');
cmp_ok($served || 0, '<', $end + 10, 'and was not served until then');

# ---- size ----

reload('retention=10y retention_size=24m');
my $day = 86400_000;
my $now = int(time() * 1000);
block("day$_", [$now - $_ * $day, $_]) for 9, 3;
my @before = grep { $_->[3] < $now - 2 * $day } blocks();
is(scalar @before, 2, 'two old blocks');
# What is sent again is logged again: the log alone gets as large as that.
my $body = Nightlight::Test::snappy(Nightlight::Test::series_pb(
    { __name__ => 'many' }, map { [$now - 20_000 + $_, rand()] } 1 .. 15_000));
my ($n, $refused) = (0, 0);
ok($t->wait_for(sub {
    $t->write_raw($body)->{status} == 204 or $refused++ for 1 .. 5;
    $n++;
    return !grep { $_->[3] < $now - 2 * $day } blocks() }, 'blocks gone', 60),
    'old blocks go when the log gets large');
cmp_ok($n, '>', 5, 'and not before');
is($refused, 0, 'nothing was refused for it');
is($t->value('day9', time => ($now - 9 * $day) / 1000), undef,
    'they are not served any more');
is($t->value('count(many)', time => $now / 1000), 1, 'the newest is');

# ---- the disk ----

# more than there is, less than there could be
my $df = `df -B1 --output=size,avail $dir | tail -1`;
my ($size, $avail) = $df =~ /(\d+)\s+(\d+)/;
my $lacking = int(($size + $avail) / 2 / 1048576);
reload("retention=10y min_free=${lacking}m");
my $r;
ok($t->wait_for(sub {
    $r = $t->write_pb(Nightlight::Test::series_pb({ __name__ => 'w' },
        [int(time() * 1000), 1]));
    $r->{status} == 503 && $r->{body} =~ /disk/ }, 'refused', 20),
    'writes are refused');
like($r->{body}, qr/min_free=/, 'and told why');
cmp_ok($r->{headers}{'retry-after'} || 0, '>', 0, 'for now');
is($t->value('count(many)', time => $now / 1000), 1, 'queries go on');
ok($t->log_lines(qr/\[crit\].*min_free=/), 'the log says so');
reload('retention=10y min_free=1m');
ok($t->wait_for(sub {
    $t->write({ __name__ => 'w' }, [int(time() * 1000), 1]) == 204 },
    'taken', 20), 'writes are taken when there is room');

$t->done();
