#!/usr/bin/perl
# Upgrade of the binary: two generations share one head.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;
use Nightlight::Load;

my $t = Nightlight::Test->new();
$t->write_conf(main => 'worker_processes 2;', daemon => 'on');
$t->run();
my $load = Nightlight::Load->new($t, writers => 2, readers => 1, series => 5);
$load->start();

my $old = $t->master;
my $new = $t->usr2();
ok($new, 'a new master beside the old');
my $n = $load->acknowledged();
$t->wait_for(sub { $load->acknowledged() > $n + 200 }, 'load on both');

my @files = grep { !/lock/ } glob "$t->{dir}/head/*.ctl";
is(scalar @files, 1, 'one head');

kill 'QUIT', $old;
ok($t->wait_for(sub { !kill(0, $old) }, 'old gone', 20),
    'the old master leaves');
$t->adopt($new);
$n = $load->acknowledged();
ok($t->wait_for(sub { $load->acknowledged() > $n + 200 }, 'load on the new'),
    'the new one serves');
ok($t->wait_for(sub { $t->helpers($new) == 1 }, 'helper'), 'it has its helper');
$load->stop();
is($load->errors(), '', 'no error status');
$load->check('after the upgrade');

ok($t->stop(), 'stops cleanly');
$t->done();
