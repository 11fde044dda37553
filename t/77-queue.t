#!/usr/bin/perl
# Queries of one tenant, or key, do not stand in the way of another's:
# nightlight_query_concurrency, its queue, and turns.
use strict;
use warnings;
use Test::More;
use POSIX ();
use Time::HiRes ();
use Nightlight::Test;

my $t = Nightlight::Test->new();
my $now = int(time());
# connections of the port "both" go to either of the workers
my $conf = <<'EOF';
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main;
                                   nightlight_query_timeout 60s; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        # who asks is what it says, as a certificate would
        location /key/           { nightlight_query main;
            nightlight_query_concurrency 1 queue=3 key=$http_x_key; }
        location /wide/          { nightlight_query main;
            nightlight_query_concurrency 1 queue=200 key=$http_x_key; }
        location /none/          { nightlight_query main;
            nightlight_query_concurrency 1 queue=0 key=none; }
        location /dry/           { nightlight_query main;
            nightlight_query_concurrency 1 queue=0 key=dry dry_run; }
        location /hurry/         { nightlight_query main;
            nightlight_query_concurrency 1 wait=200ms status=429 key=hurry; }
        location /number/        { nightlight_query main;
            nightlight_query_concurrency $http_x_n key=number; }
        location /outer/         {
            nightlight_query_concurrency 1 queue=0 key=outer;
            location /outer/in/  { nightlight_query main; }
            location /outer/off/ { nightlight_query main;
                nightlight_query_concurrency off; }
        }
EOF
my $both = 'listen 127.0.0.1:%%PORT_both%% reuseport;';
$t->write_conf(main => 'worker_processes 2;', server => $both,
    locations => $conf);
$t->run();
my @many = map { { __name__ => 'n', i => $_ } } 1 .. 30;
is($t->write(map { ($_, map { [($now - 600 + $_ * 10) * 1000, $_] } 1 .. 60) }
    @many), 204, 'series');

# Seconds of work, in some MB.
my $HEAVY = Nightlight::Test::form(
    query => 'sum(quantile_over_time(0.5, (n * n)[9m:1s]))',
    start => $now - 100, end => $now, step => '0.01');
my $LIGHT = Nightlight::Test::form(query =>
    'sum(sum_over_time((n * n)[9m:1s]))', time => $now);

# Tens of milliseconds.
my $MIDDLE = Nightlight::Test::form(
    query => 'sum(quantile_over_time(0.5, (n * n)[9m:1s]))',
    start => $now - 30, end => $now, step => '1');

# Series that are work each, so that other threads help: n times 0.2 s or more.
chomp(my $processors = `nproc`);
sub helped {
    my ($n) = @_;
    return Nightlight::Test::form(start => $now - 60, end => $now,
        step => '0.006', query => join ' + ',
            ('sum(quantile_over_time(0.5, n[9m]))') x $n);
}

my @open;
sub send_to {
    my ($uri, $args, $key, %h) = @_;
    my $s = $t->connect('both');
    Nightlight::Test::send_all($s, Nightlight::Test::request_bytes('GET',
        "$uri?$args", { 'X-Key' => $key, %h }));
    push @open, $s;
    return $s;
}
sub close_all {
    close $_ for @open;
    @open = ();
    $t->wait_for(sub { $t->metric('nightlight_queries_running') == 0
        && $t->metric('nightlight_queries_waiting') == 0 }, 'quiet');
}
sub load_is {
    my ($running, $waiting, $what) = @_;
    my @is;
    $t->wait_for(sub {
        @is = map { $t->metric("nightlight_queries_$_") } qw(running waiting);
        return "@is" eq "$running $waiting";
    }, "$running running, $waiting waiting", 5);
    is("@is", "$running $waiting", $what);
}

# ---- a limit for each key ----

send_to('/key/query_range', $HEAVY, 'a') for 1 .. 4;
load_is(1, 3, 'one of a key runs, the others wait');
my $r = $t->http('GET', "/key/query_range?$HEAVY", headers => { 'X-Key' => 'a' });
is($r->{status}, 503, 'one more has no place');
is($r->{body}, '{"status":"error","errorType":"unavailable","error":"too many '
    . 'queries of this key: nightlight_query_concurrency lets 1 of them run '
    . 'at once, and 3 wait"}', 'and hears which limit it was');
is($r->{headers}{'retry-after'}, 1, 'Retry-After');
is($t->http('GET', '/metrics')->{body}
    =~ /outcomes_total\{outcome="limit_queue"\} (\d+)/ && $1, 1, 'is counted');
is(scalar(grep { /\[warn\].*lets 1 of them.*nightlight_slow_query/ }
    $t->log_lines('query refused')), 1, 'and logged');
$r = $t->http('GET', "/key/query?$LIGHT", headers => { 'X-Key' => 'b' });
is($r->{status}, 200, 'another key is served meanwhile');
load_is(1, 3, 'all of them being there');
close $open[1];
load_is(1, 2, 'one that leaves makes a place');
is($t->http('GET', "/api/v1/labels")->{status}, 200, 'a location without');
close_all();

# ---- turns: among those that wait, whoever was served longest ago ----

{
    my @s = map { send_to('/wide/query_range', $MIDDLE, 'flood') } 1 .. 40;
    my $b = send_to('/wide/query', $LIGHT, 'quiet');
    is(Nightlight::Test::read_response($b)->{status}, 200, 'one of another key');
    my $left = $t->metric('nightlight_queries_waiting');
    cmp_ok($left, '>', 0, "is answered before $left others");
    $_ = Nightlight::Test::read_response($_)->{status} for @s;
    is_deeply([grep { $_ != 200 } @s], [], 'which are answered as well');
    close_all();
}

# ---- without a queue, and only tried ----

send_to('/none/query_range', $HEAVY, '');
load_is(1, 0, 'queue=0: one runs');
is($t->http('GET', "/none/query?$LIGHT")->{status}, 503, 'no other waits');
close_all();
is($t->http('GET', "/none/query?$LIGHT")->{status}, 200, 'then one may again');
send_to('/dry/query_range', $HEAVY, '');
load_is(1, 0, 'dry_run');
is($t->http('GET', "/dry/query?$LIGHT")->{status}, 200, 'refuses nobody');
is($t->metric('nightlight_query_refusals_dry_run_total{limit="queue"}'), 1,
    'but counts');
is(scalar $t->log_lines('would be refused with 503, but for dry_run'), 1,
    'and says so');
close_all();

# ---- who waits no longer than is said; numbers of a request; off ----

send_to('/hurry/query_range', $HEAVY, '');
load_is(1, 0, 'one runs');
$r = $t->http('GET', "/hurry/query?$LIGHT");
is($r->{status}, 429, 'wait= is over: the status as configured');
is($r->{headers}{'retry-after'}, 1, 'Retry-After');
is($r->{body}, '{"status":"error","errorType":"too_many_requests","error":'
    . '"query waited for 200 ms: nightlight_query_concurrency lets 1 of this '
    . 'key run at once, and wait no longer"}', 'says which limit');
close_all();
is($t->http('GET', "/hurry/query?$LIGHT")->{status}, 200, 'in time');
send_to('/hurry/query_range', $MIDDLE, '') for 1 .. 2;
is(Nightlight::Test::read_response($_)->{status}, 200, 'and in turn') for @open;
close_all();

send_to('/number/query_range', $HEAVY, '', 'X-N' => 2) for 1 .. 3;
load_is(2, 1, 'a number from a variable');
close_all();
send_to('/number/query_range', $HEAVY, '', 'X-N' => 'few') for 1 .. 2;
load_is(2, 0, 'what is none: the default');
is(scalar(() = $t->log_lines('"nightlight_query_concurrency" must be a number '
    . 'from 1 to 512, but its variables make it "few"')) > 0, 1,
    'and the log says so');
close_all();
send_to('/outer/in/query_range', $HEAVY, '');
load_is(1, 0, 'inherited');
is($t->http('GET', "/outer/in/query?$LIGHT")->{status}, 503, 'it holds');
send_to('/outer/off/query_range', $HEAVY, '');
load_is(2, 0, 'off: not here');
close_all();

# ---- a thread is left for others also where nothing is configured ----

send_to('/api/v1/query_range', $HEAVY) for 1 .. 10;
my $cores = () = $t->read_file('/proc/cpuinfo') =~ /^processor/mg;
load_is($cores, 10 - $cores, 'as many as cores run');
is($t->http('GET', "/key/labels")->{status}, 200, 'another key is served');
close_all();

# ---- the quiet one's 99th percentile beside a flood, at most twice ----

# Of N light queries, one after the other: the 99th percentile in seconds.
sub p99 {
    my ($n) = @_;
    my @times;
    for (1 .. $n) {
        my $start = Time::HiRes::time();
        my $r = $t->http('GET', "/key/query?$LIGHT",
            headers => { 'X-Key' => 'quiet' });
        push @times, Time::HiRes::time() - $start;
        return 9 ** 9 if $r->{status} != 200;
    }
    return (sort { $a <=> $b } @times)[int(0.99 * $n)];
}

my ($alone, $beside);
# what else this machine does is in both
my $ok = $t->wait_for(sub {
    $alone = p99(60);
    send_to('/key/query_range', $HEAVY, 'flood') for 1 .. 4;
    load_is(1, 3, 'a flood');
    $beside = p99(60);
    close_all();
    return $beside <= 2 * $alone + 0.002;
}, 'p99 within 2x', 20);
ok($ok, sprintf('99th percentile %.1f ms alone, %.1f ms beside a flood',
    $alone * 1000, $beside * 1000));
note(sprintf('99th percentile %.1f ms alone, %.1f ms beside', $alone * 1000,
    $beside * 1000));

# ---- what is known to be brief is answered without a thread ----

sub at_once { return $t->metric('nightlight_queries_at_once_total') }
sub ask {
    my ($query, %more) = @_;
    my $uri = delete $more{uri} // '/api/v1';
    return $t->http('GET', "$uri/query?" . Nightlight::Test::form(
        query => $query, time => $now, %more), headers => { 'X-Key' => 'k' })
        ->{body};
}
# Asks until one is answered at once; all answers must be the first one.
sub becomes_brief {
    my ($query, $what, %more) = @_;
    my $before = at_once();
    my %bodies;
    ok($t->wait_for(sub { $bodies{ask($query, %more)} = 1;
        return at_once() > $before }, $what, 10), $what);
    is(scalar(keys %bodies), 1, 'with the same answer');
}
# Nor is it, however often it is asked.
sub stays_long {
    my ($query, $re, $what) = @_;
    my $before = at_once();
    like(ask($query), $re, $what) for 1 .. 4;
    is(at_once(), $before, 'and by threads');
}
becomes_brief('n{i="7"}', 'an instant query of one series');
becomes_brief('n{i="7"}', 'at another time', time => $now - 60);
becomes_brief('n{i="7"}', 'a key below its limit', uri => '/key');
send_to('/key/query_range', $HEAVY, 'k');
load_is(1, 0, 'at the limit');
my $form = Nightlight::Test::form(query => 'n{i="7"}', time => $now);
my $before = at_once();
my $waits = send_to('/key/query', $form, 'k');
load_is(1, 1, 'it waits its turn');
close $open[0];
is(Nightlight::Test::read_response($waits)->{status}, 200, 'which comes');
is(at_once(), $before, 'in a thread');
close_all();
stays_long('sum(sum_over_time((n * n)[9m:100ms]))', qr/"vector"/, 'long ones');
stays_long('n{', qr/parse error/, 'wrong ones are answered as ever');

# What was brief and is not any more is given up, and done by a thread.
is($t->write({ __name__ => 'grows', i => 0 }, [$now * 1000, 1]), 204, 'one');
my $GROWS = 'count(sum_over_time(grows[10m]) + sum_over_time(grows[9m]))';
becomes_brief($GROWS, 'what selects one series');
for my $k (0 .. 9) {
    is($t->write(map { ({ __name__ => 'grows', i => $_ }, [$now * 1000, 1]) }
        $k * 2000 + 1 .. ($k + 1) * 2000), 204, 'many');
}
stays_long($GROWS, qr/"20001"/, 'it selects thousands');

# Blocks are read there as well.
is($t->http('GET', '/-/flush/wait')->{status}, 405, 'a flush is no question');
is($t->metric('nightlight_flushes_total'), 0, 'nothing was flushed');
is($t->http('POST', '/-/flush/wait')->{status}, 204, 'a flush that is waited for');
cmp_ok($t->metric('nightlight_flushes_total'), '>', 0, 'is done');
is($t->http('POST', '/-/flush/wait')->{status}, 204, 'so is one of nothing');
becomes_brief('n{i="7"}', 'what lies in blocks is found');
is($t->write({ __name__ => 'n', i => 7 }, [($now + 5) * 1000, 5]), 204, 'new');
becomes_brief('n{i="7"}', 'and what lies there too', time => $now + 6);
stays_long('sum(sum_over_time((n * n)[9m:100ms]))', qr/"vector"/, 'long ones');

# ---- bounds are those of the server, and die with nobody ----

# Workers with a thread at work.
sub busy {
    return grep {
        my $pid = $_;
        grep { !m{/task/$pid/} && $t->read_file($_) =~ /^\d+ \(.*\) R / }
            glob "/proc/$pid/task/*/stat";
    } $t->workers();
}

send_to('/wide/query_range', $HEAVY, 'two') for 1 .. 8;
load_is(1, 7, 'one of a key runs in all workers');
close_all();

$t->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/);

# whoever has it, and what helps it, is killed; those that wait in the other
# worker go on
send_to('/wide/query_range', helped(40), 'two');
load_is(1, 0, 'one at work');
my ($pid) = @{$t->wait_for(sub { my @b = busy(); @b == 1 && \@b }, 'where it is')};
my @light = map { send_to('/wide/query', $LIGHT, 'two') } 1 .. 12;
load_is(1, 12, 'others wait');
kill 'KILL', $pid;
my %got;
$got{Nightlight::Test::read_response($_, 20)->{status} || 'gone'}++ for @light;
cmp_ok($got{200} || 0, '>', 0, 'a worker was killed: those of the other one run');
is(($got{200} || 0) + ($got{gone} || 0), 12, 'the rest went with it');
is($t->http('GET', "/wide/query?$LIGHT", port => 'both', headers => { 'X-Key' => 'two' })
    ->{status}, 200, 'its place is free') for 1 .. 3;
ok($t->wait_for(sub {
    1 == (() = $t->log_lines('queries of 1 worker that died make room'));
}, 'a line'), 'it is told once');
my $help = $t->metric('nightlight_query_help_total');
is($t->http('GET', '/wide/query_range?' . helped(1))->{status}, 200,
    'a query that may have help');
is($t->metric('nightlight_query_help_total') > $help, $processors > 1,
    'threads that died with a worker do not count, if there are processors');
close_all();

# an old worker that still works counts for new ones
send_to('/none/query_range', $HEAVY, '');
load_is(1, 0, 'one at work');
$t->reload();
is($t->http('GET', "/none/query?$LIGHT")->{status}, 503,
    'reload: it runs on, and no other beside it');
close $_ for @open;
@open = ();
ok($t->wait_for(sub { $t->http('GET', "/none/query?$LIGHT")->{status} == 200 },
    'its end'), 'until it ends');
close_all();

# ---- what would have to come from the disk is for a thread ----

# Page faults of the worker that waited for a disk.
sub faults {
    my ($worker) = $t->workers();
    return (split ' ', $t->read_file("/proc/$worker/stat") =~ s/^.*\) //sr)[9];
}
# Throws the blocks' pages out of memory, as the kernel does for want of it.
sub throw_out {
    my ($worker) = $t->workers();
    no warnings 'portable';
    my @ranges = map { [map { hex } /^(\w+)-(\w+)/] }
        $t->read_file("/proc/$worker/maps") =~ m{^.*/blocks/.*$}mg;
    @ranges or die 'no block is mapped';
    my $fd = syscall(434, $worker + 0, 0); # pidfd_open
    # process_madvise, MADV_PAGEOUT
    my @out = grep { syscall(440, $fd, pack('QQ', $_->[0], $_->[1] - $_->[0]),
        1, 21, 0) > 0 } @ranges;
    POSIX::close($fd);
    return @out && @out == @ranges;
}
$t->stop();
$t->write_conf(main => 'worker_processes 1;', locations => $conf);
$t->run();
becomes_brief('n{i="7"}', 'one worker, after a start');
becomes_brief('n{i="8"}', 'another query');
my ($thrown, $start, $tried);
# the kernel keeps what it has just had in hand
my $read = $t->wait_for(sub {
    my $faults = faults();
    $thrown = throw_out();
    $start = Time::HiRes::time();
    my $good = ask('n{i="7"}') =~ /"i":"7"/;
    $tried = at_once();
    return !$thrown || !$good || faults() > $faults;
}, 'pages to be read', 5);
SKIP: {
    skip 'no leave to throw out pages of a process', 9 if !$thrown;
    skip 'blocks lie in a file system without a disk', 9 if !$read;
    like(ask('n{i="8"}'), qr/"i":"8"/, 'after pages had to be read, others');
    # for a second
    ok(at_once() == $tried || Time::HiRes::time() > $start + 0.9,
        'are for a thread');
    becomes_brief('n{i="8"}', 'and return');
    stays_long('n{i="7"}', qr/"i":"7"/, 'but not that one');
}

# ---- nginx -t ----

for (['0', qr/"nightlight_query_concurrency" must be a number from 1 to 512, not "0"/],
    ['x', qr/not "x"/], ['1 wait=0', qr/"wait=0": not a time/],
    ['1 status=500', qr/"status=500": not 503 or 429/],
    ['off queue=5', qr/no parameters beside "off"/],
    ['$nosuch', qr/unknown "nosuch" variable/],
    ['1 queue=3000', qr/not a number up to 2048/],
    ['1 key=$nosuch', qr/unknown "nosuch" variable/],
    ['1 fast', qr/unknown, not queue=, wait=, status=, key=, dry_run/],
    ['1; nightlight_query_concurrency 2', qr/is duplicate/]) {
    my ($args, $re) = @$_;
    $t->write_conf(server => "nightlight_query_concurrency $args;");
    my ($code, $out) = $t->config_test();
    isnt($code, 0, "nightlight_query_concurrency $args");
    like($out, $re, 'says why');
}
$t->done();
