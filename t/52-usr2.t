#!/usr/bin/perl
# Upgrade of the binary: two generations share one head; the module's file may
# be another one, which a reload does not see.
use strict;
use warnings;
use File::Copy qw(copy);
use Test::More;
use Nightlight::Test;
use Nightlight::Load;

my $t = Nightlight::Test->new();
my $file = $t->dir . '/module.so';
copy($t->{module}, $file) or die "$file: $!";
$t->{module} = $file;

# Which file a process has loaded: its inode.
sub loaded {
    my ($pid) = @_;
    my %inode = map { /(\d+)\s+\Q$file\E/ ? ($1 => 1) : () }
        split /\n/, $t->read_file("/proc/$pid/maps");
    return join ' ', sort keys %inode;
}

$t->write_conf(main => 'worker_processes 2;', daemon => 'on');
$t->run();
my $load = Nightlight::Load->new($t, writers => 2, readers => 1, series => 5);
$load->start();

# as a package does: a new file under the old name
my $first = (stat $file)[1];
copy($file, "$file.new") && rename "$file.new", $file or die "$file: $!";
my $second = (stat $file)[1];
isnt($second, $first, 'another file');
ok($t->reload(), 'a reload');
is(loaded(($t->workers())[0]), $first, 'has the old module still');

my $old = $t->master;
my $new = $t->usr2();
ok($new, 'a new master beside the old');
is(loaded(($t->workers($new))[0]), $second, 'whose workers have the new one');
is(loaded(($t->workers($old))[0]), $first, 'while the old have the old');
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
