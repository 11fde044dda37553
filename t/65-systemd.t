#!/usr/bin/perl
# examples/systemd/nightlight.conf: systemd takes it, and nginx lives under
# it.  There is no systemd where tests run, so what matters most is done by
# hand in a mount namespace: a file system that can be written to only where
# the drop-in says, its capabilities, its umask.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;
use Nightlight::Peers qw(capture);

my $t = Nightlight::Test->new();
my $dropin = "$Nightlight::Test::ROOT/examples/systemd/nightlight.conf";
my $text = $t->read_file($dropin);
my %set = $text =~ /^(\w+)=(.*)$/mg;
my $d = $t->dir;

# ---- systemd's own opinion, of Debian's unit with the drop-in ----

SKIP: {
    my $analyze = $t->program('systemd-analyze');
    skip 'no systemd-analyze', 3 unless $analyze;
    my ($unit) = grep { -e } map { "$_/systemd/system/nginx.service" }
        '/usr/lib', '/lib';
    skip 'no nginx.service', 3 unless $unit;
    mkdir "$d/units";
    mkdir "$d/units/nginx.service.d";
    my $service = $t->read_file($unit);
    # verify wants the program; here it may lie elsewhere
    $service =~ s{/usr/sbin/nginx}{$t->{nginx}}g;
    $t->write_file('units/nginx.service', $service);
    $t->write_file('units/nginx.service.d/nightlight.conf', $text);
    my ($code, $out, $err) = capture($t, [$analyze, 'verify', '--man=no',
        "$d/units/nginx.service"]);
    is($code, 0, 'systemd-analyze verify') or diag($err);
    is("$out$err", '', 'without a word');
    $t->write_file('units/nginx.service.d/nightlight.conf',
        $text =~ s/ProtectHome=yes/ProtectHome=maybe/r);
    ($code, $out, $err) = capture($t, [$analyze, 'verify', '--man=no',
        "$d/units/nginx.service"]);
    like("$out$err", qr/maybe/, 'which notices what is wrong');
    $t->write_file('units/nginx.service.d/nightlight.conf', $text);
    ($code, $out, $err) = capture($t, [$analyze, 'security', '--offline=true',
        '--threshold=35', "$d/units/nginx.service"]);
    is($code, 0, 'systemd-analyze security: exposure of at most 3.5')
        or diag($out, $err);
    diag(grep { /Overall/ } split /^/, $out);
}

# ---- nginx under it ----

my @tools = map { $t->program($_) } qw(unshare nsenter setpriv mount);
my @writable = split / /, $set{ReadWritePaths};
cmp_ok(scalar @writable, '>=', 4, 'ReadWritePaths');
SKIP: {
    skip 'needs root, unshare and setpriv', 1 if $> || grep { !$_ } @tools;
    skip 'no mount namespaces here', 1
        if system('unshare -m true 2> /dev/null');

    my @caps = map { /^CAP_(\w+)$/ ? lc $1 : die } split / /,
        $set{CapabilityBoundingSet};
    my $caps = join ',', '-all', map { "+$_" } @caps;

    # all of the machine read-only, but for copies of these that are empty
    $t->write_file('confine', <<"EOF");
set -eu
mount --make-rprivate /
for p in @writable; do
    mkdir -p \$p
    mount -t tmpfs -o mode=755 tmpfs \$p
done
chmod 1777 /dev/shm
mkdir /var/lib/nginx/body
while read -r what where type how rest; do
    case " @writable /proc /sys " in *" \$where "*) continue ;; esac
    case \$where in /proc/*|/sys/*) continue ;; esac
    mount -o remount,bind,ro "\$where" 2> /dev/null || true
done < /proc/self/mounts
umask $set{UMask}
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=$caps "\$@"
EOF
    # paths as on a Debian machine, and its user for workers
    $t->write_file_expand('nginx.conf', <<'EOF');
load_module %%MODULE%%;
user www-data;
worker_processes 2;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log info;
daemon off;
events { worker_connections 512; }
http {
    access_log /var/log/nginx/access.log;
    nightlight_store main path=/var/lib/nginx/nightlight memory=24m
        retention=15d wal_sync=always;
    server {
        listen 127.0.0.1:%%PORT_http%%;
        client_max_body_size 32m;
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/admin/  { nightlight_admin main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
    }
}
EOF
    # workers read the module and configuration before they change user
    chmod 0755, $d;
    $t->{master} = $t->spawn('unshare', '-m', '/bin/sh', "$d/confine",
        $t->{nginx}, '-c', "$d/nginx.conf", '-e', 'stderr');
    ok($t->wait_for(sub { $t->is_ready() }, 'ready', 30), 'nginx starts')
        or diag($t->read_file('logs/unshare.log'));
    my $in = "/proc/$t->{master}/root";
    my ($bounds) = $t->read_file("/proc/$t->{master}/status")
        =~ /^CapBnd:\s+(\w+)/m;
    is(unpack('%32b*', pack('H*', $bounds)), scalar @caps,
        'with these capabilities');
    my ($probe, $out, $err) = capture($t, ['nsenter', '-t', $t->{master}, '-m',
        'sh', '-c', "echo > $d/probe"]);
    like($err, qr/Read-only file system/, 'and a file system to read');

    my $now = int(time() * 1000);
    is($t->write({ __name__ => 'm' }, [$now, 7]), 204,
        'a write, synced to the disk');
    is($t->value('sum({__name__=~"(m|n)+"})'), '7',
        'a query, whose regular expression is compiled');
    my $r = $t->http('POST', '/api/v1/admin/tsdb/snapshot');
    is($r->{status}, 200, 'a snapshot: blocks are written') or diag($r->{body});
    $t->reload();
    is($t->write({ __name__ => 'm' }, [$now + 1, 8]), 204,
        'a write after a reload');
    kill 'USR1', $t->{master};
    is($t->value('last_over_time(m[1m])'), '8', 'and a query, logs reopened');
    my ($worker) = $t->workers();
    my $uid = ($t->read_file("/proc/$worker/status") =~ /^Uid:\s+(\d+)/m)[0];
    is($uid, (getpwnam('www-data'))[2], 'workers are not root');
    like($t->read_file("/proc/$worker/status"), qr/^CapEff:\s+0+$/m,
        'and have no capability');
    my @made = glob "$in/var/lib/nginx/* $in/dev/shm/*";
    is((stat "$in/var/lib/nginx/nightlight")[2] & 077, 0,
        'the store is closed to others');
    cmp_ok(scalar(grep { /head\./ } @made), '>', 1, 'the head is in /dev/shm');
    my $log = $t->read_file("$in/var/log/nginx/error.log");
    unlike($log, qr/\[(?:alert|emerg|crit)\]/, 'no complaints')
        or diag($log);
    ok($t->stop(), 'stops');
}

$t->done();
