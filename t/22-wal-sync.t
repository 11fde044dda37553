#!/usr/bin/perl
# wal_sync=always: acknowledged means on the disk; many requests share a sync;
# nobody else waits for it.
use strict;
use warnings;
use Test::More;
use IO::Select;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Load;
use Nightlight::Disk;

my $t = Nightlight::Test->new();
my $disk = Nightlight::Disk->new($t, 'fdatasync');
my $now = int(time() * 1000);
my $n = 0;

my $store = 'memory=24m retention=10y wal_sync=always';
my $second = 'nightlight_store second path=%%TESTDIR%%/second '
    . "head=%%TESTDIR%%/head $store;";
my $locations = <<'EOF';
        location = /api/v1/write { nightlight_write main; }
        location = /second       { nightlight_write second; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location = /plain        { return 200 "plain\n"; }
EOF

sub conf {
    my ($main, $params) = @_;
    mkdir $t->dir . '/second';
    $t->write_conf(main => $main, store => $params || $store, http => $second,
        locations => $locations);
}

sub metric {
    my ($name) = @_;
    my ($v) = $t->http('GET', '/metrics')->{body} =~ /^nightlight_$name (\S+)/m;
    return $v;
}

# A write of one new sample of `one`, sent and not answered yet: its socket.
sub begin_write {
    my (%p) = @_;
    my $s = $t->connect();
    Nightlight::Test::send_all($s, $t->write_bytes(Nightlight::Test::snappy(
        Nightlight::Test::series_pb({ __name__ => 'one' },
            [$now - 1000 + $n++, 1])), %p));
    return $s;
}

sub answered { return IO::Select->new($_[0])->can_read(0) }
sub status { return Nightlight::Test::read_response($_[0])->{status} }
sub samples {
    return @{($t->query('one[1h]', time => $now / 1000 + 60)->{result}[0]
        || { values => [] })->{values}};
}

conf("worker_processes 1;\nworker_shutdown_timeout 3s;");
$t->run();

# ---- an answer comes after the sync, and nothing else waits for that ----

$disk->mode('hold');
my @s = begin_write();
ok($disk->wait_held(1), 'a sync is under way');
push @s, map { begin_write() } 1 .. 20;
ok($t->wait_for(sub { metric('wal_sync_waits_total') == 21 }, 'all logged'),
    'more writes are logged meanwhile');
my $slowest = 0;
for (1 .. 200) {
    my $start = time();
    $t->http('GET', '/plain')->{status} == 200 or fail('the worker answers');
    $slowest = time() - $start if time() - $start > $slowest;
}
cmp_ok($slowest, '<', 2, sprintf('others are served, the slowest in %.1f ms',
    $slowest * 1000));
is(scalar(grep { answered($_) } @s), 0, 'no write is answered');
is(metric('write_requests_ok_total'), 0, 'or counted');
is(scalar(samples()), 21, 'queries see what is not acknowledged yet');
my ($done) = $disk->counts();
my $since = time();
$disk->mode('ok');
is(join(' ', map { status($_) } @s), join(' ', (204) x 21), 'all answered');
# the helper adds one a second of its own
cmp_ok(($disk->counts())[0] - $done, '<=', 3 + int(time() - $since),
    'after two syncs, or three');
close $_ for @s;

# ---- a client leaves, and a connection is broken off ----

$disk->mode('hold');
@s = map { begin_write() } 1 .. 3;
ok($disk->wait_held(1), 'a sync is under way');
close $s[1];
my $kept = begin_write();
$disk->mode('ok');
is(join(' ', map { status($_) } @s[0, 2], $kept), '204 204 204',
    'a client leaves, the others are answered');

# ---- reload: who waits is answered by the old worker ----

my ($old) = $t->workers();
$disk->mode('hold');
@s = map { begin_write() } 1 .. 3;
ok($disk->wait_held(1), 'a sync is under way');
$t->reload();
is(scalar(grep { answered($_) } @s), 0, 'reloaded, still waiting');
$disk->mode('ok');
is(join(' ', map { status($_) } @s), '204 204 204',
    'a worker that shuts down answers');
ok($t->wait_for(sub { !kill(0, $old) }, 'exit'), 'and leaves');

# ... or is broken off with its worker
($old) = $t->workers();
$disk->mode('hold');
@s = map { begin_write() } 1 .. 3;
ok($disk->wait_held(1), 'a sync is under way');
$t->reload();
is(join(' ', map { status($_) } @s), '0 0 0', 'worker_shutdown_timeout');
ok(kill(0, $old), 'the worker still has its thread');
$disk->mode('ok');
ok($t->wait_for(sub { !kill(0, $old) }, 'exit'), 'and leaves with it');
is(status(begin_write()), 204, 'writes go on');

# ---- a head that is given up meanwhile ----

$disk->mode('hold');
@s = map { begin_write() } 1 .. 3;
ok($disk->wait_held(1), 'a sync is under way');
my $replayed = () = $t->log_lines(qr/bytes replayed/);
unlink glob $t->dir . '/head/*.ctl';
ok($t->wait_for(sub { $t->log_lines(qr/its files have been removed/) },
    'dead'), 'its head is given up');
$disk->mode('ok');
is(join(' ', map { status($_) } @s), '204 204 204', 'acknowledged');
# a worker that has not seen it yet calls the old head ready
ok($t->wait_for(sub { $replayed < (() = $t->log_lines(qr/bytes replayed/))
    && $t->is_ready() }, 'ready', 30), 'ready again, with another head');
is(scalar(samples()), $n, 'and there, all of them');

# ---- a sync that fails ----

$disk->mode('hold');
@s = map { begin_write() } 1 .. 3;
ok($disk->wait_held(1), 'a sync is under way');
push @s, begin_write();
$t->wait_for(sub { metric('wal_sync_waits_total') >= 4 }, 'logged');
my $flushes = metric('flushes_total');
$disk->mode('fail 5');
is(join(' ', map { status($_) } @s), '500 500 500 500', 'fails: 500 for all');
$disk->mode('ok');
my $r = $t->write_pb(Nightlight::Test::series_pb({ __name__ => 'one' },
    [$now - 1000 + $n, 1]));
ok($r->{status} == 204 || $r->{status} == 503
    && $r->{headers}{'retry-after'} == 1,
    '503 and "again in a second", or rotated already');
ok($t->wait_for(sub { status(begin_write()) == 204 }, '204'),
    'another log takes writes');
ok($t->wait_for(sub { metric('flushes_total') > $flushes
    && metric('wal_failed_logs') == 0 }, 'flush'), 'the failed one is a block');
cmp_ok(metric('wal_errors_total'), '>', 0, 'counted');
ok($t->log_lines(qr/\[crit\].*cannot sync/), 'and logged');

# ---- 32 writers, two workers, a disk that needs 10 ms ----

conf('worker_processes 2;');
$t->reload();
$disk->mode('delay 0.01');
my ($ok, $syncs) = (metric('write_requests_ok_total'),
    metric('wal_fsyncs_total'));
my $load = Nightlight::Load->new($t, writers => 32, series => 3);
$load->start();
ok($t->wait_for(sub { metric('write_requests_ok_total') - $ok > 1500 }, 'load',
    60), 'under load');
$load->stop();
$ok = metric('write_requests_ok_total') - $ok;
$syncs = metric('wal_fsyncs_total') - $syncs;
cmp_ok($ok / $syncs, '>', 4, sprintf('%d requests, %d syncs', $ok, $syncs));
$load->check('a slow disk');

# ---- kill -9, with a head that is lost ----

$t->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/);
$load->start();
for my $what (qw(kill9_worker kill9_helper kill9_all)) {
    my $before = $load->acknowledged();
    $t->wait_for(sub { $load->acknowledged() > $before + 500 }, 'load', 60);
    $t->$what();
    if ($what eq 'kill9_all') {
        unlink glob $t->dir . '/head/*';
        $t->run();
    }
    ok($t->wait_for(sub { $t->workers() == 2 && $t->is_ready() }, 'ready', 30),
        "$what, ready again");
}
$load->stop();
$load->check('kill -9');
$disk->mode('ok');
$t->stop();

# ---- no thread is free ----

conf("worker_processes 1;\nthread_pool default threads=1 max_queue=1;");
$t->run();
$disk->mode('hold');
@s = begin_write();
ok($disk->wait_held(1), 'the only thread is in a sync');
my $query = $t->connect();
Nightlight::Test::send_all($query, Nightlight::Test::request_bytes('GET',
    '/api/v1/query?query=one'));
my $refused;
ok($t->wait_for(sub {
    my $s = begin_write(uri => '/second');
    $t->wait_for(sub { answered($s) || ($disk->counts())[1] > 1 }, 'second');
    $refused = Nightlight::Test::read_response($s);
    return $refused->{status} == 503;
}, '503'), 'a sync that finds no thread: 503');
like($refused->{body}, qr/no thread/, 'says why');
ok($refused->{headers}{'retry-after'}, 'and when');
$t->expect_log(qr/thread pool .* queue overflow/);
$disk->mode('ok');
is(status($s[0]), 204, 'the first is answered');
is(status($query), 200, 'and the query');
is(status(begin_write(uri => '/second')), 204, 'then there is one');
$t->stop();

# ---- one process, all modes ----

for my $mode ('always', '1s', 'off') {
    conf("worker_processes 1;\nmaster_process off;",
        "memory=24m retention=10y wal_sync=$mode");
    $t->run();
    my $waits = metric('wal_sync_waits_total');
    is(status(begin_write()), 204, "one process, wal_sync=$mode");
    is(metric('wal_sync_waits_total') - $waits, $mode eq 'always' ? 1 : 0,
        'waits or not');
    $t->stop();
}

$t->done();
