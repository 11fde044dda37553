#!/usr/bin/perl
# kill -9 of a worker, of the helper, of everything, under load.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;
use Nightlight::Load;

my $t = Nightlight::Test->new();
# nginx says alert about each child that a signal ends
$t->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/);
$t->write_conf(main => 'worker_processes 2;');
$t->run();

my $rounds = $ENV{TEST_NIGHTLIGHT_KILLS} || 12;
my $load = Nightlight::Load->new($t, writers => 3, readers => 1, series => 7,
    churn => 20);

$load->start();
for (1 .. $rounds) {
    $t->kill9_worker();
    ok($t->wait_for(sub { $t->workers() == 2 && $t->is_ready() },
        'respawned', 20), 'a worker killed, ready again') or last;
}
$load->stop();
$load->check('after kills of workers');

$load->start();
for (1 .. 5) {
    $t->kill9_helper();
    ok($t->wait_for(sub { $t->helpers() == 1 }, 'respawned', 20),
        'the helper killed, respawned');
}
$load->stop();
$load->check('after kills of the helper');

for my $i (1 .. 4) {
    $load->start();
    my $n = $load->acknowledged();
    $t->wait_for(sub { $load->acknowledged() > $n + 500 }, 'load');
    $t->kill9_all();
    $t->run();
    $n = $load->acknowledged();
    $t->wait_for(sub { $load->acknowledged() > $n }, 'load goes on');
    $load->stop();
    $load->check("everything killed, round $i");
}

# the head is gone as after a power loss (the log is on disk): replay
$t->kill9_all();
unlink glob "$t->{dir}/head/*";
$t->run();
$load->check('head gone, log replayed');

is(scalar(@{$t->query('count by (s, w, g) (load) > 1')->{result}}), 0,
    'no label set twice');
$t->done();
