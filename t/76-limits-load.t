#!/usr/bin/perl
# A sender of ten times its limit: what it costs, and who notices.
#
# TEST_LOAD_SECONDS=60 is the whole test, with figures (docs/PERFORMANCE.md);
# without it each phase takes a second or so, and times are judged mildly,
# since other tests run beside this one.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use IO::Select;
use POSIX ();
use Nightlight::Test;

my $seconds = $ENV{TEST_LOAD_SECONDS} || 0;
my $phase = $seconds || 1;
my $NICE = 10;
my $SERIES = 1000;
my $RATE = $seconds ? 100_000 : 20_000;

my $t = Nightlight::Test->new();
$t->write_conf(store => 'memory=256m retention=10y wal_sync=1s',
    http => <<'EOH',
    nightlight_limit_zone $http_x_key zone=keys:1m;
    access_log off;
EOH
    locations => <<"EOL");
        keepalive_requests 10000000;
        location = /limited {
            nightlight_write main;
            nightlight_limit_samples zone=keys rate=$RATE window=1s;
        }
        location = /none {
            nightlight_write main;
            nightlight_limit_samples zone=keys rate=1 window=10m;
        }
        location = /few {
            nightlight_write main;
            nightlight_limit_series zone=keys active=1;
        }
        # refused by nginx alone
        location = /control { return 429 "over the limit\n"; }
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOL
$t->run();

# Requests of samples of one time, compressed about as Prometheus's are: each
# series is copied from the one before where it is equal, its time too.
sub literal { my ($s) = @_; my $n = length($s) - 1;
    return ($n < 60 ? chr($n << 2) : chr(61 << 2) . pack('v', $n)) . $s }
sub copies {
    my ($n, $off) = @_;
    my $out = '';
    while ($n > 0) {
        my $k = $n > 64 ? ($n - 64 < 4 ? 60 : 64) : $n;
        $out .= chr(($k - 1) << 2 | 2) . pack('v', $off);
        $n -= $k;
    }
    return $out;
}
my $TS = Nightlight::Test::varint(1_700_000_000_000);
sub pieces {
    my ($metric, $n, $shard) = @_;
    my ($total, $rest, $first, $last) = (0, '');
    for my $i (1 .. $n) {
        my $pb = Nightlight::Test::series_pb({ __name__ => $metric,
            instance => sprintf('host-%05d.example.com:9100', $i),
            job => 'node' . ($shard || ''), mode => 'idle', zone => 'eu-central-1a' },
            [1_700_000_000_000, $i + rand]);
        $total += length $pb;
        if (!defined $last) { $first = $last = $pb; next }
        my $diff = $pb ^ $last;
        while ($diff =~ /(\0{4,})|([^\0]+(?:\0{1,3}(?!\0)[^\0]*)*)|(\0+)/gs) {
            my ($from, $len) = ($-[0], $+[0] - $-[0]);
            $rest .= defined $1 ? copies($len, length $pb)
                : literal(substr $pb, $from, $len);
        }
        $last = $pb;
    }
    my $at = rindex $first, $TS;
    return [Nightlight::Test::varint($total), substr($first, 0, $at),
        substr($first, $at + length $TS), $rest];
}
my $t0 = int(time() * 1000) - 3_600_000;
my $sent = $t0;         # times of samples of the senders: never one twice
my %quiet = (sent => 0, ack => 0);
my @workers = sort $t->workers();
sub body {
    my ($p, $t_ms) = @_;
    return $p->[0] . literal($p->[1] . Nightlight::Test::varint($t_ms) . $p->[2])
        . $p->[3];
}
sub request {
    my ($p, $t_ms, $uri, $key) = @_;
    return $t->write_bytes(body($p, $t_ms), uri => $uri,
        headers => { 'X-Key' => $key });
}
sub status_of { return $_[0] =~ m{^HTTP/1\.1 (\d+)} ? $1 : 0 }

# ---- processor time of a refused request ----

sub worker_ns {
    my $sum = 0;
    for my $pid ($t->workers()) {
        open my $f, '<', "/proc/$pid/schedstat" or next;
        $sum += (split ' ', <$f>)[0];
    }
    return $sum;
}
# Microseconds a request, of rounds of 20 connections: a worker that wakes up
# for each request alone spends most of a refusal on waking up.
sub cost {
    my ($uri, $key, $rounds, $want) = @_;
    my $p = pieces("cost_$key", $SERIES * 2);
    my @s = map { $t->connect() } 1 .. 20;
    my ($bad, $ns, $i) = (0, 0, 0);
    for my $round (0 .. $rounds) {
        my @req = map { request($p, $t0 + $i++, $uri, $key) } @s;
        my $before = worker_ns();
        Nightlight::Test::send_all($s[$_], $req[$_]) for 0 .. $#s;
        for my $s (@s) {
            my $r = Nightlight::Test::read_response($s);
            $bad++ if $r->{status} != $want && $round;
        }
        $ns += worker_ns() - $before if $round;  # the first makes the series
    }
    is($bad, 0, "$key: all $want");
    return $ns / $rounds / @s / 1000;
}
my $n = $seconds ? 100 : 15;
my $accepted = cost('/api/v1/write', 'accepted', $n, 204);
my $refused = cost('/none', 'refused', $n, 429);
diag(sprintf 'request of %d samples, %d bytes: accepted %.0f us, refused %.0f us of '
    . 'processor time: 1/%.1f', $SERIES * 2,
    length body(pieces('x', $SERIES * 2), $t0), $accepted, $refused,
    $accepted / $refused);
# beside other tests it is mostly what else is in the caches
cmp_ok($refused, '<', $accepted / ($seconds ? 10 : 5),
    'a refused request costs a tenth at most');
# series over a limit have to be found in the request, but are known then
my $over = cost('/few', 'series', $n, 429);
my $new = do {
    my $s = $t->connect();
    my ($rounds, $ns) = (8, 0);
    for my $i (1 .. $rounds) {
        my $req = request(pieces("new_$i", $SERIES * 2), $t0, '/api/v1/write', 'new');
        my $before = worker_ns();
        is(Nightlight::Test::exchange($s, $req)->{status}, 204, 'new series');
        $ns += worker_ns() - $before;
    }
    $ns / $rounds / 1000;
};
diag(sprintf 'all of its series but one over a limit: %.0f us, taken as new ones: '
    . '%.0f us: 1/%.1f', $over, $new, $new / $over);
cmp_ok($over, '<', $new / 3, 'far less than if they were taken');

# ---- a quiet sender beside one of ten times its limit ----

# Requests on n connections at `per_s` a second in all, or as fast as they are
# answered: samples acknowledged, refused requests, requests without answer.
# With `over_uri` what comes after the first tenth of a second goes there.
sub noise {
    my ($for, $conns, $per_s, $uri, $key, $over_uri) = @_;
    my ($ack, $over, $lost) = (0, 0, 0);
    my @s = map { $t->connect() } 1 .. $conns;
    # each has series of its own, as the shards of a sender have
    my %p = map { $s[$_] => pieces("noise_$key", $SERIES, $_ + 100) } 0 .. $#s;
    my $sel = IO::Select->new(@s);
    my @idle = @s;
    my $seq = 0;
    for my $s ($per_s ? () : @s) {      # makes the series
        my $r = Nightlight::Test::exchange($s,
            request($p{$s}, $sent++, $uri, $key));
        $lost++ if $r->{status} != 204;
        $seq++;
    }
    my $made = $seq * $SERIES;
    $seq = 0;
    my $start = time();
    my $end = $start + $for;
    while (time() < $end || @idle < @s) {
        while (@idle && time() < $end
            && (!$per_s || $seq < (time() - $start) * $per_s))
        {
            my $s = shift @idle;
            Nightlight::Test::send_all($s, request($p{$s}, $sent++,
                $over_uri && $seq % $per_s >= $per_s / 10 ? $over_uri : $uri, $key)) or $lost++;
            $seq++;
        }
        for my $s ($sel->can_read(@idle ? 0.001 : 0.1)) {
            my $r = eval { Nightlight::Test::read_response($s, 10) };
            if (!$r || !$r->{status}) { $lost++; $sel->remove($s);
                @s = grep { $_ != $s } @s; next }
            $r->{status} == 204 ? ($ack += $SERIES)
                : $r->{status} == 429 ? $over++ : $lost++;
            push @idle, $s;
        }
    }
    return [$ack, $over, $lost, $seq, time() - $start, $made, $sent];
}

# Writes and queries one after another; their times in ms, acknowledged.
sub quiet {
    my ($for, $was) = @_;
    my (@w, @q);
    my $p = pieces('quiet', 100);
    my ($w, $q) = ($t->connect(), $t->connect());
    my $query = Nightlight::Test::request_bytes('GET',
        '/api/v1/query?query=count(quiet)&time=' . int($t0 / 1000 + 1),
        { Connection => 'keep-alive' });
    for (my $end = time() + $for; time() < $end; ) {
        my $req = request($p, $t0 + $quiet{sent}++, '/limited', 'quiet');
        my $from = time();
        my $r = Nightlight::Test::exchange($w, $req);
        push @w, (time() - $from) * 1000;
        $quiet{ack} += 100 if $r->{status} == 204;
        $from = time();
        $r = Nightlight::Test::exchange($q, $query);
        push @q, (time() - $from) * 1000;
        select undef, undef, undef, 0.01 - (time() - $from)
            if time() - $from < 0.01;
    }
    $was->{n} += @w;
    push @{$was->{w}}, p99(@w);
    push @{$was->{q}}, p99(@q);
}
sub p99 { my @v = sort { $a <=> $b } @_; return $v[int($#v * 0.99)] }

# Of the p99 of rounds: others use the machine too, now and then.
sub median { my @v = sort { $a <=> $b } @{$_[0]}; return $v[$#v / 2] }

# Runs something in a child; its answer later.  The sender has the processor
# when nobody else wants it: it stands for one on another machine.
sub fork_off {
    my ($code) = @_;
    pipe(my $r, my $w) or die;
    my $pid = fork();
    if (!$pid) {
        close $r;
        POSIX::nice($NICE);
        print $w join ' ', @{$code->()};
        close $w;
        POSIX::_exit(0);
    }
    close $w;
    return sub { my $out = do { local $/; <$r> }; waitpid($pid, 0);
        return split ' ', $out };
}

# What the quiet one meets is held against being alone, and against the same
# load where nginx itself refuses what is too much: what is more than that
# would be ours.
my %beside = (
    alone   => undef,
    control => ['/api/v1/write', 'control', '/control'],
    noisy   => ['/limited', 'noisy'],
);
my (%was, %sum);
my $rounds = $seconds ? int($seconds / 5) || 1 : 1;
for my $round (1 .. $rounds) {
    for my $who (sort keys %beside) {
        my $for = $phase / $rounds;
        my $load = $beside{$who} && fork_off(sub {
            noise($for, 4, 10 * $RATE / $SERIES, @{$beside{$who}}) });
        quiet($for, $was{$who} ||= {});
        my @got = $load ? $load->() : next;
        $sent = pop @got;
        $sum{$who}[$_] += $got[$_] for 0 .. $#got;
    }
}
for my $who (sort keys %beside) {
    diag(sprintf '%-8s write p99 %.2f ms, query p99 %.2f ms (%d)', $who,
        median($was{$who}{w}), median($was{$who}{q}), $was{$who}{n});
}
my ($ack, $n_over, $lost, $offered, $took, $made) = @{$sum{noisy}};
diag(sprintf 'noisy: %d of %d requests refused, %.0f samples/s offered, %.0f '
    . 'taken, limit %d', $n_over, $offered, $offered * $SERIES / $took,
    $ack / $took, $RATE);
is($lost + $sum{control}[2], 0, 'noisy: every request is answered');
# if the machine let it send as much
ok($n_over > 0 || $offered * $SERIES < 1.2 * $RATE * ($took + $rounds),
    'noisy: over its limit');
# as much as was offered, if the machine was too busy for more
my $granted = $RATE * $took < $offered * $SERIES ? $RATE * $took
    : $offered * $SERIES;
cmp_ok($ack, '>=', ($seconds ? 0.9 : 0.6) * $granted,
    'noisy: has what its limit grants');
cmp_ok($ack, '<=', $RATE * ($took + $rounds) + 4 * $SERIES * $rounds,
    'and no more');
for my $what (['w', 'writes'], ['q', 'queries']) {
    my ($alone, $control, $beside) =
        map { median($was{$_}{$what->[0]}) } qw(alone control noisy);
    my $mild = $seconds ? 0 : 500;
    cmp_ok($beside, '<=', 2 * $alone + $mild, "quiet: p99 of $what->[1]");
    cmp_ok($beside, '<=', 2 * $control + $mild,
        'as beside what nginx refuses by itself');
}
is($quiet{ack}, 100 * $quiet{sent}, 'quiet: all is taken');

sub held { my ($metric) = @_;
    my $r = $t->query("sum(count_over_time(${metric}[2h]))",
        time => $t0 / 1000 + 3600)->{result};
    return @$r ? $r->[0]{value}[1] : 0 }
is(held('noise_noisy'), $ack, 'noisy: nothing acknowledged is lost');
is(held('quiet'), $quiet{ack}, 'quiet: nothing acknowledged is lost');

# ---- more connections than the machine can serve ----

# Two senders of n connections each, as fast as they are answered: adds
# acknowledged, lost and made samples, and the time of all to a sum.
sub flood {
    my ($for, $conns, $sum, $key) = @_;
    my $before = worker_ns();
    my @load = map { my $who = "$key$_"; fork_off(sub {
        noise($for, $conns, 0, '/api/v1/write', $who) }) } 1, 2;
    for my $load (@load) {
        my ($ack, undef, $lost, undef, $took, $made, $last) = $load->();
        $sum->{ack} += $ack + $made;
        $sum->{lost} += $lost;
        $sum->{took} += $took / @load;
        $sent = $last if $last > $sent;
    }
    $sum->{cpu_ns} += worker_ns() - $before;
}
my (%few, %many);
for my $round (1 .. $rounds) {
    flood($phase / $rounds, 1, \%few, 'few');
    flood($phase / $rounds, 10, \%many, 'many');
}
for my $f (\%few, \%many) {
    $f->{rate} = $f->{ack} / $f->{took};
    $f->{ns} = $f->{cpu_ns} / $f->{ack};
}
diag(sprintf '2 connections: %.0f samples/s, %.0f ns of processor time each; '
    . '20: %.0f, %.0f', map { ($_->{rate}, $_->{ns}) } \%few, \%many);
is($few{lost} + $many{lost}, 0, '20 connections: every request is answered');
# in a second beside other tests the clock says nothing
cmp_ok($many{rate}, '>=', $seconds ? 0.9 * $few{rate} : 0,
    'and as much is served');
cmp_ok($many{ns}, '<=', $few{ns} / ($seconds ? 0.9 : 0.3),
    'for no more processor time');
is(held('noise_many1') + held('noise_many2'), $many{ack},
    'nothing acknowledged is lost');
is_deeply([sort $t->workers()], \@workers, 'the workers are those of the start');

$t->done();
