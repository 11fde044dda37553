#!/usr/bin/perl
# The helper beside the rest of nginx: long work and reloads, quitting, deaths,
# a second helper, and proxy_cache in the same process.
use strict;
use warnings;
use Test::More;
use File::Find;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Disk;

my $t = Nightlight::Test->new();
my $disk = Nightlight::Disk->new($t, 'fsync');
my $now = int(time() * 1000);
my ($n, $blocks) = (0, 8);

$t->write_file('blob', 'x' x 65536);
my $conf = sub {
    $t->write_conf(
        store => 'memory=24m retention=10y',
        http => 'proxy_cache_path %%TESTDIR%%/cache keys_zone=c:1m '
            . 'max_size=1m inactive=1h;',
        locations => <<'EOF');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location = /blob         { root %%TESTDIR%%; }
        location /cached/ {
            proxy_pass http://127.0.0.1:%%PORT_http%%/blob?;
            proxy_cache c;
            proxy_cache_key $uri;
            proxy_cache_valid 200 1h;
        }
EOF
};

sub metric {
    my ($name) = @_;
    my ($v) = $t->http('GET', '/metrics')->{body} =~ /^nightlight_$name (\S+)/m;
    return $v;
}

# Samples for as many blocks, two hours apart, and a flush that is asked for;
# with a number, waits until it has synced that many files.
sub begin_flush {
    my ($syncs) = @_;
    my ($done) = $disk->counts();
    $n++;
    my @samples = map { [$now - $_ * 7_200_000 - $n, $n] } reverse 1 .. $blocks;
    is($t->write({ __name__ => 'm' }, @samples), 204, 'samples of a day');
    my $r = $t->http('POST', '/-/flush');
    ok($r->{status} < 300, 'a flush is asked for');
    return unless $syncs;
    ok($t->wait_for(sub { ($disk->counts())[0] >= $done + $syncs }, 'syncs'),
        'and under way');
}

sub flushed {
    my ($flushes, $seconds) = @_;
    return $t->wait_for(sub { metric('flushes_total') > $flushes }, 'flush',
        $seconds);
}

sub all_there {
    my ($name) = @_;
    my $r = $t->query('m[3d]', time => $now / 1000)->{result}[0];
    is(scalar(@{$r->{values} || []}), $n * $blocks, $name);
}

sub gone { my ($pid) = @_; return !kill(0, $pid) || Nightlight::Test::_zombie($pid) }

# Pids that hold the lease of the store.
sub lease {
    my $inode = (stat "$t->{dir}/store/lock")[1];
    return map { /FLOCK +ADVISORY +WRITE (\d+) \S+:$inode / ? $1 : () }
        split /\n/, $t->read_file('/proc/locks');
}

sub cache_bytes {
    my $bytes = 0;
    find({ no_chdir => 1, wanted => sub { $bytes += -s _ if -f } },
        "$t->{dir}/cache");
    return $bytes;
}

$conf->();
$t->run();

# ---- proxy_cache is in the same process, and has its turn ----

$disk->mode('hold');
begin_flush();
ok($disk->wait_held(1), 'the flush is at the disk, which stands still');
my $peak = 0;
for (1 .. 40) {
    is($t->http('GET', "/cached/$_")->{status}, 200);
    my $bytes = cache_bytes();
    $peak = $bytes if $bytes > $peak;
}
cmp_ok($peak, '>', 1_200_000, 'the cache was above its limit');
ok($t->wait_for(sub { cache_bytes() < 1_200_000 }, 'eviction', 40),
    'and evicted');
is(metric('flushes_total'), 0, 'the flush is still at it');
is($t->write({ __name__ => 'other' }, [$now, 1]), 204, 'writes go on');
$disk->mode('ok');
ok(flushed(0), 'the flush ends');

# ---- reloads that are faster than a flush ----

$disk->mode('delay 0.13');
my $start = time();
begin_flush();
ok(flushed(1, 60), 'a flush without reloads');
my $took = time() - $start;
cmp_ok($took, '>', 4, sprintf 'takes %.1f s', $took);

begin_flush();
my ($end, $reloads, $next) = (time() + 5 * $took + 20, 0, 0);
until (metric('flushes_total') > 2 || time() > $end) {
    next if time() < $next;
    kill 'HUP', $t->master;
    $reloads++;
    $next = time() + 1;
}
cmp_ok(metric('flushes_total'), '>', 2,
    "a flush with $reloads reloads, one a second, ends as well");
cmp_ok($reloads, '>=', 3, 'more than one reload');
ok($t->wait_for(sub { $t->helpers() == 1 && lease() == 1
    && (lease())[0] == ($t->helpers())[0] }, 'helpers'),
    'the last helper has the lease');
all_there('all samples, each once');

# ---- quitting, terminating, dying amid a flush ----

for my $signal (qw(QUIT TERM)) {
    my $flushes = metric('flushes_total');
    $disk->mode('delay 0.1');
    begin_flush(10);
    my ($pid) = $t->helpers();
    $start = time();
    kill $signal, $pid;
    ok($t->wait_for(sub { gone($pid) }, 'helper gone'), "$signal to the helper");
    my $s = time() - $start;
    cmp_ok($s, '<', 2.5, sprintf 'it goes within %.2f s', $s);
    $disk->mode('ok');
    ok($t->wait_for(sub { $t->helpers() == 1 }, 'respawn'), 'there is another');
    ok(flushed($flushes, 60), 'which flushes');
    all_there('all samples, each once');
}
my $flushes = metric('flushes_total');
$disk->mode('delay 0.1');
begin_flush(10);
$t->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/);
$t->kill9_helper();
$disk->mode('ok');
ok(flushed($flushes, 60), 'killed; its successor flushes');
all_there('all samples, each once');

for my $signal (qw(QUIT TERM)) {
    $disk->mode('delay 0.1');
    $flushes = metric('flushes_total');
    begin_flush(10);
    $start = time();
    ok($t->stop($signal), "nginx stops, $signal");
    my $s = time() - $start;
    cmp_ok($s, '<', 2.5, sprintf 'within %.2f s', $s);
    $disk->mode('ok');
    $t->run();
    ok(flushed($flushes, 60), 'the next one flushes');
    all_there('all samples, each once');
}

# ---- the master is killed, its children go on; a second nginx ----

my ($orphan) = $t->helpers();
my @orphans = $t->children();
my $port = $t->{port};
kill 'KILL', $t->master;
waitpid $t->master, 0;
is($t->write({ __name__ => 'other' }, [$now + 1, 1]), 204, 'orphans serve');
is(join(' ', lease()), $orphan, 'the orphaned helper has the lease');
$t->{ports}{http} = $t->{port} = $t->port('another');
$conf->();
$t->run();
is($t->write({ __name__ => 'other' }, [$now + 2, 1]), 204, 'so does another');
$flushes = metric('flushes_total');
begin_flush();
ok(flushed($flushes, 60), 'a flush that is asked of one is done by the other');
is(join(' ', lease()), $orphan, 'which still has the lease');
kill 'KILL', @orphans;
ok($t->wait_for(sub { join(' ', lease()) eq join(' ', $t->helpers()) },
    'lease'), 'it dies, the new helper takes over');
$flushes = metric('flushes_total');
begin_flush();
ok(flushed($flushes, 60), 'and flushes');
all_there('all samples, each once');
is(scalar(@{$t->query('other[1h]', time => $now / 1000 + 60)
    ->{result}[0]{values}}), 3, 'and what all of them took');

$t->done();
