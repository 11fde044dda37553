#!/usr/bin/perl
# A year of history, series by series and then in any order, beside live
# traffic, in little memory: few blocks in the end, and every sample there.
#
# By hand, for more (half a minute a million samples and processor):
#   NLT_BACKFILL_SERIES=500 NLT_BACKFILL_STEP=900 tools/prove-nginx t/57-backfill.t
use strict;
use warnings;
use List::Util qw(shuffle max);
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use POSIX ();

my $n_series = $ENV{NLT_BACKFILL_SERIES} || 16;
my $step_s = $ENV{NLT_BACKFILL_STEP} || 3600;
my $memory = ($ENV{NLT_BACKFILL_MEMORY} || 32) << 20;
my $seed = $ENV{NLT_TEST_SEED} || int(time());
srand $seed;
note("NLT_TEST_SEED=$seed");

my $t = Nightlight::Test->new(formats => 1);
$t->write_conf(store => "memory=${memory} retention=2y wal_sync=100ms",
    locations => <<'EOF');
        nightlight_query_memory 1024m;
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOF
$t->expect_log(qr{exited on signal 9});
$t->run();
my $dir = $t->dir;

# ---- history ----

my $end_s = int(time() / $step_s) * $step_s - $step_s;
my $n = int(365 * 86400 / $step_s);
my $first_s = $end_s - ($n - 1) * $step_s;

# Integers, so that sums are exact, of as many bits as a float has room for.
sub value { my ($s, $i) = @_; return ($s * 7919 + $i * 104729) * 2654435761 % 4294967291 }

sub sample {
    my ($s, $i) = @_;
    my $ms = ($first_s + $i * $step_s) * 1000;
    my $time = pack('C6', map { $ms >> 7 * $_ & 127 | ($_ < 5 ? 128 : 0) } 0 .. 5);
    return "\x12\x10\x09" . pack('d<', value($s, $i)) . "\x10$time";
}

sub series {
    my ($name, $s, $from, $to) = @_;
    return Nightlight::Test::field(1,
        Nightlight::Test::labels_pb({ __name__ => $name, s => $s })
        . join '', map { sample($s, $_) } $from .. $to);
}

my ($n_refused, $head_max, $anon_max, $blocks_max) = (0, 0, 0, 0);

sub blocks {
    return map { [split / /] } grep { /^block / }
        split /\n/, $t->read_file('store/MANIFEST');
}

sub watch {
    my $head = 0;
    $head += (stat)[12] * 512 || 0 for glob "$dir/head/head.*.[0-9]*";
    $head_max = max($head_max, $head);
    for my $helper ($t->helpers()) {
        open(my $fh, '<', "/proc/$helper/status") or next;
        $anon_max = max($anon_max, $1)
            if join('', <$fh>) =~ /^RssAnon:\s*(\d+)/m;
    }
    $blocks_max = max($blocks_max, scalar blocks());
    return;
}

# Like Prometheus: again and again until it is taken.
sub send_pb {
    my ($pb) = @_;
    my $r;
    for (1 .. 3000) {
        $r = $t->write_pb($pb);
        last if $r->{status} != 503;
        $n_refused++;
        select undef, undef, undef, 0.02;
    }
    return $r->{status} == 204 || diag("$r->{status} $r->{body}") && 0;
}

sub flush_now {
    my $before = $t->metric('nightlight_flushes_total');
    $t->http('POST', '/-/flush');
    return $t->wait_for(sub {
        watch();
        $t->metric('nightlight_flushes_total') > $before }, 'flush', 30);
}

# Live traffic: 20 series, ten samples a second, each until it is taken.
my $live = fork();
die "fork: $!" unless defined $live;
if (!$live) {
    $SIG{INT} = $SIG{TERM} = 'DEFAULT';
    open(my $ledger, '>', "$dir/ledger") or die;
    $ledger->autoflush(1);
    for (my $i = 0; !-e "$dir/live.stop"; $i++) {
        my $ms = int(time() * 1000);
        send_pb(join '', map { Nightlight::Test::series_pb(
            { __name__ => 'live', s => $_ }, [$ms, $ms % 1000 + $_]) } 0 .. 19)
            and print $ledger "$ms\n";
        select undef, undef, undef, 0.1;
    }
    POSIX::_exit(0);
}
push @{$t->{pids}}, $live;

my $began = time();
my $ok = 1;

# One series after the other; in a store of the usual size arenas are full
# now and then, here they are flushed.
for my $s (0 .. $n_series - 1) {
    for (my $from = 0; $from < $n; $from += 5000) {
        my $to = $from + 4999 < $n ? $from + 4999 : $n - 1;
        $ok &&= send_pb(series('whole', $s, $from, $to));
        watch();
    }
    $ok &&= flush_now() if $n_series <= 32 && $s % 3 == 2;
    # What is under way then is begun again, by another helper.
    $t->reload() if $s == int($n_series / 3);
    $t->kill9_helper() if $s == int($n_series / 2);
}
ok($ok, 'a year, series by series');

# Weeks of any series in any order, some of them twice, 16 in a request.
my $week = int(7 * 86400 / $step_s);
my @pieces = shuffle map { my $s = $_;
    map { [$s, $_ * $week] } 0 .. int(($n - 1) / $week) } 0 .. $n_series - 1;
push @pieces, @pieces[0 .. $#pieces / 10];
my $every = int(@pieces / 16 / 6) + 1;
for (my $k = 0; $k < @pieces; $k += 16) {
    my $last = $k + 15 < $#pieces ? $k + 15 : $#pieces;
    $ok &&= send_pb(join '', map { my ($s, $from) = @$_;
        my $to = $from + $week < $n ? $from + $week - 1 : $n - 1;
        series('parts', $s, $from, $to) } @pieces[$k .. $last]);
    watch();
    $ok &&= flush_now() if $n_series <= 32 && $k / 16 % $every == $every - 1;
}
ok($ok, 'a year, in any order');
$t->write_file('live.stop', '');
waitpid($live, 0);
ok(flush_now(), 'flushed');
my $sent_s = time() - $began;
my $samples = 2 * $n * $n_series;

# ---- few blocks ----

sub bytes { my $sum = 0; $sum += $_->[10] for @_; return $sum }

my @b;
ok($t->wait_for(sub {
    watch();
    @b = blocks();
    # what is older than two windows of 32 days is one block for each
    my @old = grep { $_->[3] < ($end_s - 64 * 86400) * 1000 } @b;
    @b <= 40 && @old <= 12 && !grep { $_->[6] < 5 } @old }, 'compact', 120),
    'they become few blocks');
diag(join ' ', map { "$_->[6]:" . int(($_->[3] - $_->[2]) / 3600000) . 'h' } @b)
    if @b > 40;
my $all_s = time() - $began;
my @old = grep { $_->[3] < ($end_s - 64 * 86400) * 1000 } @b;
cmp_ok(scalar @old, '>=', 9, 'of 32 days each');
is(scalar(grep { $_->[6] != 5 } @old), 0, 'which is the highest level');
cmp_ok($t->metric('nightlight_compactions_total'), '>', 5, 'by merging');
is($t->metric('nightlight_compaction_errors_total'), 0, 'without failure');
is($t->metric('nightlight_flush_errors_total'), 0, 'nor of flushes');

# ---- little memory ----

cmp_ok($head_max, '<=', $memory, 'head files kept to memory=');
cmp_ok($anon_max, '<', $memory / 1024, 'the helper needs less of its own');

# ---- everything is there ----

# Not parsed as JSON, which takes longer than all the rest.
sub raw {
    my ($query, $time) = @_;
    return $t->http('GET', '/api/v1/query?' . Nightlight::Test::form(
        query => $query, time => $time))->{body};
}

for my $name (qw(whole parts)) {
    my ($bad, $seen) = (0, 0);
    for my $s (0 .. $n_series - 1) {
        my $raw = raw("${name}{s=\"$s\"}[370d]", $end_s);
        my $i = 0;
        while ($raw =~ /\[(\d{10}),"(\d+)"\]/g) {
            $bad++ if $i >= $n || $1 != $first_s + $i * $step_s || $2 != value($s, $i);
            $i++;
        }
        $bad++ if $i != $n;
        $seen += $i;
    }
    is($bad, 0, "$name: no sample is wrong");
    is($seen, $n * $n_series, "$name: none is missing");
}
my @ledger = split /\n/, $t->read_file('ledger');
for my $s (0, 19) {
    my $raw = raw("live{s=\"$s\"}[1h]", time());
    my %got = $raw =~ /\[([\d.]+),"(\d+)"\]/g;
    my $want = join ' ', map { sprintf '%.3f %d', $_ / 1000, $_ % 1000 + $s }
        @ledger;
    ok($want eq join(' ', map { sprintf '%.3f %d', $_, $got{$_} } sort keys %got),
        "live series $s is whole");
}

note(sprintf '%d samples and live ones: sent in %.1f s (%d times 503), compact '
    . 'after %.1f s; at most %d blocks, %d in the end, %.2f bytes a sample; '
    . 'head at most %.1f MiB, helper at most %.1f MiB of its own',
    $samples, $sent_s, $n_refused, $all_s, $blocks_max, scalar @b,
    bytes(@b) / $samples, $head_max / (1 << 20), $anon_max / 1024);
$t->done();
