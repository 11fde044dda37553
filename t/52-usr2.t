#!/usr/bin/perl
# Upgrade of the binary: two generations share one head.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;
use Nightlight::Load;

my $t = Nightlight::Test->new();
$t->write_conf(main => 'worker_processes 2;');
$t->run();
my $load = Nightlight::Load->new($t, writers => 2, readers => 1, series => 5);
$load->start();

my $old = $t->master;
my $new = $t->usr2();
ok($new, 'a new master beside the old');
push @{$t->{pids}}, $new;
my $n = $load->acknowledged();
$t->wait_for(sub { $load->acknowledged() > $n + 200 }, 'load on both');

my @files = grep { !/lock/ } glob "$t->{dir}/head/*.ctl";
is(scalar @files, 1, 'one head');

kill 'QUIT', $old;
ok($t->wait_for(sub { waitpid($old, POSIX::WNOHANG()) == $old }, 'old gone', 20),
    'the old master leaves');
$t->{master} = $new;
$n = $load->acknowledged();
ok($t->wait_for(sub { $load->acknowledged() > $n + 200 }, 'load on the new'),
    'the new one serves');
ok($t->wait_for(sub { $t->helpers($new) == 1 }, 'helper'), 'it has its helper');
$load->stop();
is($load->errors(), '', 'no error status');
$load->check('after the upgrade');

# the new master is not our child: stop it by hand
kill 'QUIT', $new;
ok($t->wait_for(sub { !kill(0, $new) }, 'new gone', 20), 'stops cleanly');
undef $t->{master};
$t->{pids} = [];
$t->done();
