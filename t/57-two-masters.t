#!/usr/bin/perl
# One store, two nginx: two masters on one machine share its head; in two
# containers, where neither sees the head of the other, the second waits.
#
# The part with containers needs root, for unshare(1) and mounts.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;
use Nightlight::Load;

my $now = int(time() * 1000);
my $first = Nightlight::Test->new();
$first->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/);

# nginx number two with the store of the first.
sub second {
    my (%p) = @_;
    my $t = Nightlight::Test->new();
    $t->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/);
    $t->write_conf();
    conf($t, $p{head});
    return $t;
}

sub conf {
    my ($t, $head) = @_;
    my $conf = $t->read_file('nginx.conf');
    my $store = $first->dir . '/store';
    $conf =~ s{path=\S+}{path=$store};
    $conf =~ s{head=\S+}{$head ? "head=$head" : ''}e;
    $t->write_file('nginx.conf', $conf);
}

# Pids that hold the lease of the store.
sub lease {
    my $inode = (stat $first->dir . '/store/lock')[1];
    return map { /FLOCK +ADVISORY +WRITE (\d+) \S+:$inode / ? $1 : () }
        split /\n/, $first->read_file('/proc/locks');
}

my $n = 0;
sub put {
    my ($t) = @_;
    my $status = $t->write({ __name__ => 'm', n => $n }, [$now, $n]);
    $n++ if $status == 204;
    return $status;
}

# All that was put is there, once.
sub all_there {
    my ($t, $name) = @_;
    is(join(' ', sort { $a <=> $b } map { $_->{value}[1] }
        @{$t->query('m', time => $now / 1000)->{result}}),
        join(' ', 0 .. $n - 1), $name);
}

sub ready {
    my ($t) = @_;
    return $t->wait_for(sub { $t->is_ready() }, 'ready', 30);
}

# ---- two masters ----

$first->write_conf();
$first->run();
is(put($first), 204, 'the first writes');
my $two = second(head => $first->dir . '/head');
$two->run();
is(put($two), 204, 'the second writes');
for my $t ($first, $two) { all_there($t, 'both have both') }
is(scalar(lease()), 1, 'one helper works');
is(scalar(grep { !/lock$/ } glob $first->dir . '/head/head.*.ctl'), 1,
    'one head');

my @load = map { Nightlight::Load->new($_, writers => 2, series => 5) }
    $first, $two;
$_->{t0} = $load[0]{t0} for @load;
$_->start() for @load;
for my $t ($first, $two, $first) {
    my @n = map { $_->acknowledged() } @load;
    $t->http('POST', '/-/flush');
    $t->kill9_helper();
    ok($t->wait_for(sub { lease() == 1 && $t->helpers() == 1 }, 'a helper',
        20), 'a helper dies, another works');
    for my $i (0, 1) {
        ok($t->wait_for(sub { $load[$i]->acknowledged() > $n[$i] + 100 },
            'load'), 'and writes go on');
    }
}
$_->stop() for @load;
# Both sent the same series, times and values.
$_->check('by either') for @load;
ok($first->stop(), 'the first leaves');
ok(ready($two), 'the second is ready');
is(put($two), 204, 'and writes');
ok($two->wait_for(sub { lease() == 1 }, 'a helper', 20), 'its helper works');
all_there($two, 'and has all');
$two->end();

# ---- two containers ----

my $root = $> == 0 && system('unshare --mount --pid --ipc --fork '
    . 'mount -t tmpfs tmpfs /dev/shm 2>/dev/null') == 0;

# Starts nginx with a /dev/shm, pids and mounts of its own.
sub run_contained {
    my ($t) = @_;
    my $script = "mount -t tmpfs tmpfs /dev/shm && mount -t proc proc /proc "
        . "&& exec $t->{nginx} -p $t->{dir}/ -c $t->{dir}/nginx.conf "
        . "-e $t->{dir}/error.log";
    my $pid = $t->spawn('unshare', '--mount', '--pid', '--ipc', '--fork',
        'sh', '-c', $script);
    $t->{unshare} = $pid;
    $t->wait_for(sub {
        ($t->{master}) = $t->children('', $pid);
        return $t->{master} && $t->workers() == 2;
    }, 'workers', 20);
    return $t;
}

sub stop_contained {
    my ($t, $signal) = @_;
    kill $signal, $t->{master};
    my $ok = $t->wait_for(sub {
        waitpid($t->{unshare}, POSIX::WNOHANG()) != 0
    }, 'gone', 20);
    undef $t->{master};
    return $ok;
}

sub reason {
    my ($t) = @_;
    my $r = eval { $t->http('GET', '/-/ready') } || { status => 0, body => '' };
    return ($r->{status}, $r->{body});
}

SKIP: {
    skip 'not root, or no unshare: containers are not tested', 42 if !$root;
    my ($one, $other) = map { second() } 1 .. 2;
    run_contained($one);
    ok(ready($one), 'a container is ready');
    all_there($one, 'with what was there before');
    is(put($one), 204, 'and writes');

    run_contained($other);
    my ($status, $body);
    ok($other->wait_for(sub {
        ($status, $body) = reason($other);
        return $body =~ /another container/;
    }, 'a reason', 20), 'a second one says why it is not ready');
    is($status, 503, 'with 503');
    is(put($other), 503, 'it takes no samples');
    like($other->http('GET', '/api/v1/query?query=m')->{body},
        qr/another container/, 'and answers no query');

    # The helper of the first is away for moments: the second must not come in.
    for (1 .. 5) {
        $one->kill9_helper();
        ok($one->wait_for(sub { $one->helpers() == 1 && lease() == 1 },
            'a helper', 20), 'the helper of the first died');
        is(put($one), 204, 'the first goes on');
    }
    $one->reload();
    ok(ready($one), 'a reload of the first');
    is(put($one), 204, 'and it goes on');
    all_there($one, 'with all');
    is((reason($other))[0], 503, 'the second waits');

    ok(stop_contained($one, 'QUIT'), 'the first goes');
    ok(ready($other), 'the second takes over');
    all_there($other, 'with all');
    is(put($other), 204, 'and writes');

    run_contained($one);
    ok($one->wait_for(sub { (reason($one))[1] =~ /another container/ },
        'a reason', 20), 'the first comes again and waits');
    my @pids = ($other->{master}, $other->children());
    kill 'KILL', @pids;
    waitpid($other->{unshare}, 0);
    undef $other->{master};
    ok(ready($one), 'the second is killed, the first takes over');
    all_there($one, 'with all');
    is(put($one), 204, 'and writes');
    all_there($one, 'all');
    ok(stop_contained($one, 'QUIT'), 'and goes');

    # the same directory of the head, but other process numbers
    mkdir(my $shared = $first->dir . '/shared');
    for my $t ($one, $other) { $t->write_conf(); conf($t, $shared) }
    run_contained($one);
    ok(ready($one), 'a head in a directory that both have');
    run_contained($other);
    ok($other->wait_for(sub { (reason($other))[1] =~ /process numbers/ },
        'a reason', 20), 'the second does not share it');
    is(put($one), 204, 'the first goes on');
    all_there($one, 'with all');
    ok(stop_contained($one, 'TERM'), 'and goes');
    ok(ready($other), 'the second takes over');
    all_there($other, 'with all');
    ok(stop_contained($other, 'TERM'), 'and goes');
    $_->end() for $one, $other;
}

$first->done();
