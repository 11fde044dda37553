#!/usr/bin/perl
# An arena that is full becomes Prometheus blocks: promtool and Prometheus
# itself read them, and answers are the same before and after.
use strict;
use warnings;
no warnings 'portable';      # 64-bit integers are needed anyway
use File::Path qw(make_path);
use Test::More;
use Nightlight::Test;

*series_pb = \&Nightlight::Test::series_pb;

my $t = Nightlight::Test->new(portable => 1);
my $promtool = $t->program('promtool');
plan(skip_all => 'no promtool') unless $promtool;
$t->write_conf(store => 'memory=24m retention=10y wal_sync=1s');
$t->run();

my $blocks = $t->dir . '/store/blocks';
my $now = int(time() / 60) * 60;
my $ms = $now * 1000;

# ---- what must come back: values of every kind over five hours ----

my %special = (nan => 0x7ff8000000000001, cnan => 0xfff8000000000abc,
    inf => 0x7ff0000000000000, ninf => 0xfff0000000000000,
    nzero => 0x8000000000000000, tiny => 1, tenth => 0x3fb999999999999a);
my $pb = '';
for my $k (sort keys %special) {
    $pb .= series_pb({ __name__ => 'special', k => $k },
        map { [$ms - 18_000_000 + $_ * 600_000, \pack('Q<', $special{$k})] }
            0 .. 30);
}
# Debian's promtool refuses names beyond its alphabet, so UTF-8 in a value
$pb .= series_pb({ __name__ => 'utf8', label => "caf\x{e9} \"\n\\ \x{6e29}" },
    map { [$ms - 18_000_000 + $_ * 60_000, $_ / 7] } 0 .. 300);
$pb .= series_pb({ __name__ => 'gone' }, [$ms - 3600_000, 5],
    [$ms - 3540_000, \pack('Q<', 0x7ff0000000000002)]);
$pb .= series_pb({ __name__ => 'counter', i => $_ },
    map { my $n = $_; [$ms - 18_000_000 + $n * 15_000, ($n * 37) % 5000] }
        0 .. 1200) for 1 .. 5;
is($t->write_pb($pb)->{status}, 204, 'five hours of samples');
is($t->write({ __name__ => 'late' }, map { [$ms - $_ * 1000, $_] } 0 .. 50), 204,
    'in the wrong order');
is($t->write({ __name__ => 'late' }, map { [$ms - 86400_000 * $_, $_] } 2 .. 4),
    204, 'and days late');

my @questions = (
    [query => 'special', time => $now],
    [query => 'special[10h]', time => $now],
    [query => 'utf8', time => $now - 60],
    [query => 'sum_over_time(utf8[6h])', time => $now],
    [query => 'gone', time => $now - 3541],
    [query => 'gone', time => $now - 3500],
    [query => 'gone[2h]', time => $now],
    [query => 'late[5d]', time => $now],
    [query => 'sum by (i) (rate(counter[5m]))', time => $now],
    [query => 'rate(counter[5m])', start => $now - 17_700, end => $now,
        step => 97],
    [query => 'resets(counter[5h])', time => $now],
    [query => 'count_over_time(counter[1d])', time => $now],
    [query => 'max_over_time(utf8[1h:7m])', start => $now - 14_400, end => $now,
        step => 600],
);

sub ask {
    my ($port, @p) = @_;
    my %p = @p;
    return $t->http('GET', '/api/v1/' . ($p{step} ? 'query_range' : 'query')
        . '?' . Nightlight::Test::form(%p), port => $port)->{body};
}

# Order of an instant vector does not matter, nor do annotations.
sub plain {
    my ($json) = @_;
    my $r = JSON::PP->new->utf8->decode($json);
    my $c = JSON::PP->new->canonical;
    return join "\n", sort map { $c->encode($_) } @{$r->{data}{result}};
}

my @before = map { plain(ask('http', @$_)) } @questions;

# ---- fill arenas until the first has become blocks ----

my $n = 0;
ok($t->wait_for(sub {
    my $pb = join '', map { series_pb({ __name__ => 'load', i => $n++,
        pad => 'x' x 60 }, [$ms - 30_000, $n], [$ms - 15_000, $n], [$ms, $n])
    } 1 .. 4000;
    $t->write_pb($pb);
    return $t->metric('nightlight_flushes_total') > 0;
}, 'a flush', 20), 'a full arena is flushed');
ok($t->wait_for(sub {
    return $t->metric('nightlight_head_arenas') == 1;
}, 'one arena', 10), 'and nothing more is to flush');
# each worker loads the list when it needs it, at the latest every second
ok($t->wait_for(sub { $t->metric('nightlight_blocks') > 3 }, 'blocks'),
    'there are blocks');
is($t->metric('nightlight_flush_errors_total'), '0', 'without errors');

for my $i (0 .. $#questions) {
    is(plain(ask('http', @{$questions[$i]})), $before[$i],
        "the same after the flush: $questions[$i][1]");
}

# ---- promtool ----

sub run {
    my (@cmd) = @_;
    my $pid = open(my $p, '-|');
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        open(STDERR, '>&', \*STDOUT);
        exec(@cmd) or POSIX::_exit(127);
    }
    local $/;
    my $out = <$p>;
    close $p;
    return ($? >> 8, defined $out ? $out : '');
}

my @ulids = map { m{/([0-9A-Z]{26})$} ? $1 : () } glob "$blocks/*";
cmp_ok(scalar @ulids, '>=', 4, scalar(@ulids) . ' blocks');
is_deeply([grep { !m{/[0-9A-Z]{26}$} } glob "$blocks/*"], [], 'and nothing else');

my ($code, $out) = run($promtool, 'tsdb', 'list', $blocks);
is($code, 0, 'promtool tsdb list') or diag($out);
my @rows = grep { /^[0-9A-Z]{26} / } split /\n/, $out;
is(scalar @rows, scalar @ulids, 'lists every block');
my %rows = map { (split ' ')[0] => [split ' '] } @rows;
my $listed = 0;
$listed += $rows{$_}[4] for keys %rows;     # NUM SAMPLES
cmp_ok($listed, '>=', 217 + 301 + 2 + 5 * 1201 + 54, 'and all samples');
ok($t->wait_for(sub { $t->metric('nightlight_block_samples') == $listed },
    "block_samples $listed"), 'as many as nightlight_block_samples');
for my $id (@ulids) {
    my ($from, $to) = @{$rows{$id} || []}[1, 2];
    # what is days late is not cut finer than compaction would have it
    cmp_ok($to - $from, "<=", 8 * 86400_000, "$id: within eight days");
    ($code, $out) = run($promtool, 'tsdb', 'analyze', $blocks, $id);
    is($code, 0, "promtool tsdb analyze $id") or diag($out);
    like($out, qr/^(?:Total )?Series: [1-9]/m, 'counts series');
}

# a copy, in which promtool wants the log of a Prometheus too
my $copy = $t->dir . '/copy';
make_path("$copy/wal");
system('cp', '-r', (map { "$blocks/$_" } @ulids), $copy) == 0
    or die 'cannot copy blocks';
($code, $out) = run($promtool, 'tsdb', 'dump', $copy);
is($code, 0, 'promtool tsdb dump') or diag(substr($out, 0, 500));
my @late = $out =~ /^\{__name__="late"\} (\S+) (\d+)$/mg;
is(join(' ', @late), join(' ', map { ($_, $ms - 86400_000 * $_) } 4, 3, 2)
    . ' ' . join(' ', map { ($_, $ms - 1000 * $_) } reverse 0 .. 50),
    'late samples lie in order');
my @tenth = $out =~ /^\{__name__="special", k="tenth"\} (\S+) (\d+)$/mg;
is(join(' ', @tenth), join(' ', map { ('0.1', $ms - 18_000_000 + $_ * 600_000) }
    0 .. 30), 'every sample of a series');
like($out, qr/^\{__name__="special", k="nzero"\} -0 /m, 'minus zero');
like($out, qr/^\{__name__="special", k="ninf"\} -Inf /m, 'minus infinity');

# ---- Prometheus opens a copy ----

SKIP: {
    my $prometheus = $ENV{TEST_PROMETHEUS} || $t->program('prometheus');
    skip 'no prometheus', 1 unless $prometheus;
    $t->write_file('prometheus.yml', "global: {scrape_interval: 1h}\n");
    $t->spawn($prometheus, '--config.file=' . $t->dir . '/prometheus.yml',
        "--storage.tsdb.path=$copy",
        '--storage.tsdb.retention.time=10y', '--log.level=warn',
        '--web.listen-address=127.0.0.1:' . $t->port('prom'));
    my $up = $t->wait_for(sub {
        my $r = eval { $t->http('GET', '/-/ready', port => 'prom') };
        return $r && $r->{status} == 200;
    }, 'prometheus', 20);
    ok($up, 'Prometheus starts on a copy of the blocks')
        or diag($t->read_file('logs/prometheus.log'));
    skip 'prometheus does not run', 1 unless $up;
    unlike($t->read_file('logs/prometheus.log'), qr/corrupt|error/i,
        'without a complaint');

    # what 2.42 answers otherwise (ranges closed at both ends, rates of
    # counters born inside them) is left to t/80-prometheus.t
    for my $q (@questions[0 .. 7]) {
        is(plain(ask('prom', @$q)), plain(ask('http', @$q)),
            "Prometheus answers the same: $q->[1]");
    }
    is(plain(ask('prom', query => 'count(load)', time => $now)) =~ /"\d+"/ ? 1 : 0,
        1, 'and has the load');
}

# ---- a restart finds them ----

ok($t->stop(), 'stops');
$t->run();
for my $i (0 .. $#questions) {
    is(plain(ask('http', @{$questions[$i]})), $before[$i],
        "the same after a restart: $questions[$i][1]");
}
ok($t->wait_for(sub { $t->metric('nightlight_block_samples') >= $listed },
    'blocks'), 'and the blocks');

$t->done();
