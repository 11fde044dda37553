#!/usr/bin/perl
# The crash laboratory: processes of a real nginx die by kill -9 at random
# instants, under load, in every mode of wal_sync.  Every acknowledged sample
# is there afterwards, once, with its value.  (What a power loss leaves, and
# what a full disk does, is in t/fault/.)
#
# TEST_NIGHTLIGHT_ROUNDS: deaths in all; `make crash` has hundreds.
# NLT_TEST_SEED repeats the choice of deaths; their instants depend on the
# machine.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Load;

my $rounds = $ENV{TEST_NIGHTLIGHT_ROUNDS} || 18;
my $seed = defined $ENV{NLT_TEST_SEED} ? $ENV{NLT_TEST_SEED} : int(time());
my @modes = qw(1s always off);
my ($t, $load);

note("seed: NLT_TEST_SEED=$seed");
srand($seed);

# Waits for a random number of acknowledgements.
sub instant {
    my ($most) = @_;
    my $n = $load->acknowledged() + int rand($most || 600);
    return $t->wait_for(sub { $load->acknowledged() > $n }, 'load', 30);
}

sub ready {
    return $t->wait_for(sub {
        $t->workers() == 2 && $t->helpers() == 1 && $t->is_ready()
    }, 'ready again', 30);
}

sub post { my ($uri) = @_; eval { $t->http('POST', $uri, timeout => 20) } }
sub start { $t->run(); return ready() }
sub lose_head { unlink glob "$t->{dir}/head/*" }

# Ends the master alone; workers and helper go on without it.
sub kill_master {
    my $pid = $t->master;
    my @orphans = $t->children();
    kill 'KILL', $pid;
    waitpid($pid, 0);
    $t->{pids} = [grep { $_ != $pid } @{$t->{pids}}];
    return @orphans;
}

# What a round does; true: the store is ready again.
my %death = (
    'a worker' => sub { $t->kill9_worker(); ready() },
    'two workers' => sub { $t->kill9_worker() for 1 .. 2; ready() },
    'the helper' => sub { $t->kill9_helper(); ready() },
    'the helper in a flush' => sub {
        post('/-/flush');
        instant(60);
        $t->kill9_helper();
        ready();
    },
    'everything' => sub { $t->kill9_all(); start() },
    'everything in a flush' => sub {
        post('/-/flush');
        instant(60);
        $t->kill9_all();
        start();
    },
    'everything, with the head' => sub {
        $t->kill9_all();
        lose_head();
        start();
    },
    'everything, twice while it starts' => sub {
        $t->kill9_all();
        for (1 .. 2) {
            lose_head() if rand() < 0.5;
            $t->run(ready => 0);
            my $end = time() + rand(0.3);
            $t->wait_for(sub { time() > $end && $t->children() }, 'a child');
            $t->kill9_all();
        }
        start();
    },
    'the master, then its orphans' => sub {
        my @orphans = kill_master();
        my $served = instant();
        kill 'KILL', @orphans;
        $t->wait_for(sub { !grep { kill(0, $_) } @orphans }, 'all dead');
        return start() && $served;
    },
    'any child in a reload' => sub {
        kill 'HUP', $t->master;
        instant(60);
        my @all = $t->children('(?:worker|cache manager) process');
        kill 'KILL', $all[rand @all] if @all;
        ready();
    },
    'a generation in a reload' => sub {
        my @old = $t->children();
        kill 'HUP', $t->master;
        instant(60);
        kill 'KILL', @old;
        ready();
    },
    # nobody dies, but things move
    'nobody, but a reload' => sub { $t->reload(); ready() },
    'nobody, but flushes' => sub {
        for (1 .. 3) { post('/-/flush'); instant(200); }
        return ready();
    },
    'nobody, but a snapshot' => sub {
        post('/api/v1/admin/tsdb/snapshot');
        return instant(60);
    },
    'all by SIGTERM' => sub { $t->stop('TERM'); start() },
);

# Every kind once, in random order, then again.
my @left;
sub next_death {
    @left = map { $_->[1] } sort { $a->[0] <=> $b->[0] }
        map { [rand(), $_] } sort keys %death unless @left;
    return shift @left;
}

sub begin {
    my ($mode) = @_;
    $t = Nightlight::Test->new(formats => 1);
    # nginx says alert about each child that a signal ends
    $t->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/);
    $t->write_conf(main => 'worker_processes 2;',
        store => "memory=24m retention=10y wal_sync=$mode",
        locations => <<'END');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/admin/  { nightlight_admin main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
END
    $t->run();
    $load = Nightlight::Load->new($t, writers => 3, readers => 1, series => 7,
        churn => 20);
}

sub run_of {
    my ($mode, $n) = @_;
    my $ok = 1;
    $load->start();
    for (1 .. $n) {
        my $what = next_death();
        $ok = instant() && $death{$what}->();
        ok($ok, "wal_sync=$mode, killed: $what") or last;
    }
    $load->stop();
    return if !$ok;
    $load->check("wal_sync=$mode");
}

for my $mode (@modes) {
    my $left = int(($rounds + @modes - 1) / @modes);
    while ($left > 0) {
        begin($mode);
        # a load has room for ten runs
        for (1 .. 10) {
            my $n = $left < 8 ? $left : 8;
            last if $n == 0 || !Test::More->builder->is_passing;
            run_of($mode, $n);
            $left -= $n;
        }
        $t->end();
        last if !Test::More->builder->is_passing;
    }
    last if !Test::More->builder->is_passing;
}
done_testing();
