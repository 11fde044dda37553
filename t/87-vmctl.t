#!/usr/bin/perl
# Leaving: vmctl carries everything out of here into a real VictoriaMetrics, by
# a snapshot and by remote_read, and what arrives there is what was here.
#
# TEST_VMCTL and TEST_VICTORIA_METRICS name others than those of PATH.
use strict;
use warnings;
use JSON::PP;
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Peers qw(peer capture ready commands);

my $t = Nightlight::Test->new();
my $vmctl = peer($t, 'vmctl');
my $vm = peer($t, 'victoria-metrics');
plan(skip_all => 'no vmctl') unless $vmctl;
plan(skip_all => 'no victoria-metrics') unless $vm;
# Debian 12's 1.79 has no remote-read, and loses samples on its way out of a
# snapshot now and then, be it ours or Prometheus's
plan(skip_all => 'vmctl is too old for remote-read')
    unless join('', capture($t, [$vmctl, '--help'])) =~ /remote-read/;

$t->write_conf(store => 'memory=24m retention=10y', locations => <<'EOF2');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/admin/  { nightlight_admin main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOF2
$t->run();
my $dir = $t->dir;

# ---- five hours of samples, of which two are blocks ----

my $t0 = int(time() / 3600) * 3600 - 5 * 3600;
my @series = ((map { my $i = "$_"; [{ __name__ => 'steady', job => 'x', i => "$i" },
    sub { $_[0] * 8 + $i / 4 }] } 0 .. 19),
    [{ __name__ => 'utf8', where => "caf\x{e9} \"\\ \x{6e29}" }, sub { -$_[0] }],
    # (VictoriaMetrics would not keep what differs by more, side by side)
    [{ __name__ => 'wide' }, sub { (1 + $_[0] % 100) * 10 ** ($_[0] % 7 - 3) }]);

# {series => {ms => value}}
my %want;

sub fill {
    my ($from, $n) = @_;
    my $pb = '';
    for my $s (@series) {
        my ($labels, $value) = @$s;
        my @samples = map { my $ms = ($from + 15 * $_) * 1000;
            [$ms, $value->($ms / 1000 - $t0)] } 0 .. $n - 1;
        $pb .= Nightlight::Test::series_pb($labels, @samples);
        my $key = JSON::PP->new->canonical->encode($labels);
        $want{$key}{$_->[0]} = $_->[1] for @samples;
    }
    is($t->write_pb($pb)->{status}, 204, 'samples');
}

fill($t0, 480);
is($t->http('POST', '/-/flush')->{status}, 204, 'flush');
ok($t->wait_for(sub { $t->metric('nightlight_flushes_total') > 0 }, 'flush'),
    'blocks');
fill($t0 + 7200, 680);
my $n_want = 0;
$n_want += keys %$_ for values %want;

# ---- where it goes ----

# A VictoriaMetrics of its own for each way out; what it has by its export.
sub target {
    my ($name) = @_;
    $t->spawn($vm, "-storageDataPath=$dir/$name", '-retentionPeriod=10y',
        '-httpListenAddr=127.0.0.1:' . $t->port($name));
    ok(ready($t, $name, '/health'), "a VictoriaMetrics ($name)")
        or diag($t->read_file('logs/victoria-metrics.log'));
    return 'http://127.0.0.1:' . $t->port($name);
}

sub arrived {
    my ($name) = @_;
    $t->http('GET', '/internal/force_flush', port => $name);
    my $r = $t->http('GET', '/api/v1/export?' . Nightlight::Test::form(
        'match[]' => '{__name__!=""}', start => $t0 - 1, end => time() + 1),
        port => $name);
    my %have;
    for my $line (split /\n/, $r->{body}) {
        my $s = JSON::PP->new->utf8->decode($line);
        delete $s->{metric}{prometheus};
        my $key = JSON::PP->new->canonical->encode($s->{metric});
        @{$have{$key}}{@{$s->{timestamps}}} = @{$s->{values}};
    }
    return \%have;
}

# VictoriaMetrics keeps decimal numbers, of some fifteen digits.
sub same {
    my ($x, $y) = @_;
    return abs($x - $y) <= 1e-14 * abs($y);
}

sub all_there {
    my ($name) = @_;
    my $have;
    my ($missing, $wrong, $n, $example) = (0, 0, 0, '');
    $t->wait_for(sub {
        $have = arrived($name);
        $n = 0;
        $n += keys %$_ for values %$have;
        return $n >= $n_want;
    }, "$n_want samples");
    for my $key (sort keys %want) {
        for my $ms (sort keys %{$want{$key}}) {
            my $v = $have->{$key}{$ms};
            if (!defined $v) { $missing++; $example ||= "$key at $ms" }
            elsif (!same($v, $want{$key}{$ms})) {
                $wrong++;
                $example ||= "$key at $ms: $v, not $want{$key}{$ms}";
            }
        }
    }
    is($n, $n_want, "$name: $n_want samples arrive");
    is("$missing missing, $wrong wrong", '0 missing, 0 wrong',
        "$name: those that were here") or diag($example);
}

# ---- by a snapshot ----

my $snapshot = $t->api_post('admin/tsdb/snapshot')->{data}{name};
ok($snapshot, 'a snapshot');
my $to = target('snapshot');
my ($cmd) = commands($t, 'vmctl-snapshot', 'http://victoria-metrics:8428' => $to,
    SNAPSHOT => "$dir/store/snapshots/$snapshot");
my ($code, $out, $err) = capture($t, [$vmctl, @$cmd]);
is($code, 0, 'vmctl reads a snapshot') or diag($out, $err);
all_there('snapshot');

# ---- by remote_read ----

my $utc = sub { strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $_[0]) };
for my $name ('stream', 'samples') {
    $to = target($name);
    ($cmd) = commands($t, 'vmctl-remote-read',
        'http://victoria-metrics:8428' => $to,
        '2026-11-01T00:00:00Z' => $utc->($t0),
        '2026-12-01T00:00:00Z' => $utc->(time() + 60),
        '=day' => '=hour');
    @$cmd = grep { $name eq 'stream' || !/use-stream/ } @$cmd;
    ($code, $out, $err) = capture($t, [$vmctl, @$cmd]);
    is($code, 0, "vmctl reads $name") or diag($out, $err);
    all_there($name);
}
$t->done();
