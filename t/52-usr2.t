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
my $n_written = 0;
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

$t->write_conf(main => 'worker_processes 2;', daemon => 'on', locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location = /of/write     { nightlight_write main; nightlight_tenant $http_x_scope; }
        location /of/            { nightlight_query main; nightlight_tenant $http_x_scope; }
        location /operator/      { nightlight_admin main; }
EOL
$t->run();

# Tenants are made by workers of both generations, some by name of the same:
# each has what it wrote, one number, and nothing else.
my %wrote;
sub tenant_writes {
    my ($who) = @_;
    my $v = 1 << keys %wrote;
    $wrote{$who} ||= 0;
    my $r = $t->http('POST', '/of/write', headers => { %Nightlight::Test::WRITE_HEADERS, 'X-Scope' => $who },
        body => Nightlight::Test::snappy(Nightlight::Test::series_pb({ __name__ => 'up', w => $v . ++$n_written },
            [time() * 1000, $v])));
    is($r->{status}, 204, "$who writes") or diag($r->{body});
    $wrote{$who} += $v;
}
sub tenants_hold {
    my ($when) = @_;
    my %has = map {
        my $r = $t->http('GET', '/of/query?query=sum(up)', headers => { 'X-Scope' => $_ });
        $_ => $r->{body} =~ /"value":\[[^,]*,"([^"]*)"\]/ ? $1 : $r->{body};
    } keys %wrote;
    is_deeply(\%has, \%wrote, "$when: each tenant has its own");
    my @list = grep { $_->{name} ne '' }
        @{JSON::PP->new->decode($t->http('GET', '/operator/tenants')->{body})->{data}{tenants}};
    my %number = map { $_->{number} => 1 } @list;
    is(scalar(keys %number), scalar(keys %wrote), "$when: a number each");
    is(scalar(@list), scalar(keys %wrote), "$when: once");
}
tenant_writes($_) for 'first', 'both';
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

tenant_writes($_) for ('both', map { "during-$_" } 1 .. 8) x 2;
tenants_hold('two generations');

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
tenant_writes($_) for 'first', 'after';
tenants_hold('after the upgrade');

ok($t->stop(), 'stops cleanly');
unlink glob $t->dir . '/head/*';
$t->run();
tenants_hold('after a start from the logs');
$t->done();
