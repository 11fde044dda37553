#!/usr/bin/perl
# vmagent takes samples from elsewhere and hands them on to us.  It begins in
# VictoriaMetrics's own variant of remote_write, which we do not have, and has
# to fall back; while we answer 503, or are away, it keeps what it has, and
# nothing is lost.
#
# TEST_VMAGENT names a vmagent other than that of PATH.
use strict;
use warnings;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Peers qw(peer capture ready commands);

my $t = Nightlight::Test->new();
my $vmagent = peer($t, 'vmagent');
plan(skip_all => 'no vmagent') unless $vmagent;
my $help = join '', capture($t, [$vmagent, '-help']);

# No room for a byte: 503 with Retry-After until the configuration is changed.
sub conf {
    my ($min_free) = @_;
    $t->write_conf(store =>
        "memory=48m retention=10y wal_sync=1s min_free=$min_free");
}

# almost all of the file system, which is never free
my ($mib) = `df -m --output=size @{[$t->dir]}` =~ /(\d+)\s*\z/;
conf($mib - 1 . 'm');
$t->run();
my $dir = $t->dir;
ok($t->wait_for(sub { $t->metric('nightlight_disk_low') }, 'disk_low'),
    'the store takes no writes');

$t->write_file('scrape.yml', <<"EOF2");
scrape_configs:
- job_name: nightlight
  scrape_interval: 1s
  static_configs: [{targets: ['127.0.0.1:@{[$t->port('http')]}']}]
EOF2

my %agents = (default => []);
$agents{prometheus} = ['-remoteWrite.forcePromProto=true']
    if $help =~ /-remoteWrite\.forcePromProto/;
my @retry = map { $help =~ /-remoteWrite\.$_->[0] / ? "-remoteWrite.$_->[0]=$_->[1]"
    : () } ['retryMinInterval', '100ms'], ['retryMaxInterval', '1s'];
my %pid;

sub start {
    my ($name) = @_;
    my ($cmd) = commands($t, 'vmagent', 'scrape.yml' => "$dir/scrape.yml",
        '/var/lib/vmagent' => "$dir/queue.$name");
    $pid{$name} = $t->spawn($vmagent, @$cmd, '-remoteWrite.queues=2',
        "-remoteWrite.label=agent=$name", '-remoteWrite.flushInterval=200ms',
        '-httpListenAddr=127.0.0.1:' . $t->port($name), @retry,
        @{$agents{$name}});
    return ready($t, $name, '/health');
}

sub end {
    my ($name) = @_;
    kill 'INT', $pid{$name};
    $t->wait_for(sub { waitpid($pid{$name}, POSIX::WNOHANG) == $pid{$name} },
        'vmagent ends');
    $t->{pids} = [grep { $_ != $pid{$name} } @{$t->{pids}}];
}

for my $name (sort keys %agents) {
    ok(start($name), "vmagent ($name) runs")
        or diag($t->read_file('logs/vmagent.log'));
}

# ---- samples for each of them, a batch at a time ----

my $t0 = int(time()) * 1000 - 600_000;
my $batches = 0;

# 50 series of 20 samples, later than the last batch
sub push_batch {
    my ($from) = ($t0 + $batches++ * 20_000);
    my $text = '';
    for my $i (0 .. 49) {
        $text .= "pushed{i=\"$i\"} " . value($i, $from + $_ * 1000) . ' '
            . ($from + $_ * 1000) . "\n" for 0 .. 19;
    }
    for my $name (sort keys %agents) {
        my $r = $t->http('POST', '/api/v1/import/prometheus', port => $name,
            body => $text);
        is($r->{status}, 204, "a batch for vmagent ($name)");
    }
}

sub value { my ($i, $ms) = @_; return ($ms - $t0) / 1000 * 64 + $i }

# Samples that have come so far of an agent.
sub have {
    my ($name) = @_;
    return $t->value("sum(count_over_time(pushed{agent=\"$name\"}[20m]))",
        time => $t0 / 1000 + 900) || 0;
}

sub all_come {
    my ($what) = @_;
    for my $name (sort keys %agents) {
        my $want = $batches * 1000;
        ok($t->wait_for(sub { have($name) == $want }, "$want samples", 30),
            "$what: all samples of vmagent ($name) come")
            or diag(have($name), ' of ', $want);
    }
}

# [status, ...] of what was written since a position of the log.
sub statuses {
    my ($from) = @_;
    return [map { m{"POST /api/v1/write HTTP/1.1" (\d+)} ? $1 : () }
        split /\n/, substr($t->read_file('access.log'), $from || 0)];
}

push_batch();
ok($t->wait_for(sub { 2 * keys %agents <= grep { $_ == 503 } @{statuses()} },
    'answers of 503'), 'writes are answered with 503');
is(have($_), 0, 'and nothing has come') for sort keys %agents;
conf('1m');
$t->reload();
all_come('room again');
is_deeply([grep { !/^(?:204|415|503)$/ } @{statuses()}], [],
    'nothing else was answered');

# ---- what it sends ----

my @zstd = grep { $_ == 415 } @{statuses()};
SKIP: {
    skip 'this vmagent knows Prometheus\'s remote_write only', 2
        unless $agents{prometheus};
    cmp_ok(scalar @zstd, '>=', 1, 'its own variant is refused with 415');
    like($t->read_file('logs/vmagent.log'), qr/[Dd]owngrading protocol/,
        'and it falls back');
}
my $r = $t->write_raw('x', headers => { 'Content-Encoding' => 'zstd',
    'X-VictoriaMetrics-Remote-Write-Version' => '1',
    'X-Prometheus-Remote-Write-Version' => undef });
is($r->{status}, 415, 'that is: zstd');
like($r->{body}, qr/zstd|[Ee]ncoding/, 'says what it is about');

# ---- reload and restart in the middle ----

for my $round (1 .. 3) {
    push_batch();
    $t->reload();
}
all_come('reloads');
ok($t->stop(), 'nginx is stopped');
push_batch();
for my $name (sort keys %agents) { end($name) }
for my $name (sort keys %agents) { ok(start($name), "vmagent ($name) runs again") }
push_batch();
$t->run();
all_come('away for a while');

my ($n, $wrong) = (0, 0);
for my $series (@{$t->query('pushed[20m]', time => $t0 / 1000 + 900)->{result}}) {
    for my $p (@{$series->{values}}) {
        $n++;
        $wrong++ if $p->[1] != value($series->{metric}{i}, $p->[0] * 1000);
    }
}
is($n, $batches * 1000 * keys %agents, 'each sample is there once');
is($wrong, 0, 'as it was');

# ---- what it scrapes ----

for my $name (sort keys %agents) {
    ok($t->wait_for(sub { $t->value("up{agent=\"$name\",job=\"nightlight\"}") },
        'up'), "vmagent ($name) scrapes our metrics");
    ok($t->wait_for(sub { $t->value(
        "nightlight_samples_appended_total{agent=\"$name\"}") },
        'own metrics'), 'and writes them here');
}
$t->done();
