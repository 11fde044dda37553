#!/usr/bin/perl
# examples/nginx.conf.template, filled in by envsubst as it says, and by
# examples/entrypoint.sh: what the environment says is what runs.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;
use Nightlight::Peers qw(capture);

my $t = Nightlight::Test->new();
plan(skip_all => 'no envsubst (gettext-base)') unless $t->program('envsubst');
my $examples = "$Nightlight::Test::ROOT/examples";
my $template = $t->read_file("$examples/nginx.conf.template");
my $d = $t->dir;
chmod 0755, $d;
mkdir "$d/data";

# the defaults of the comment are those of the script
my %default = $template =~ /^#   (NIGHTLIGHT_\w+) .*?(\S+)$/mg;
is(scalar keys %default, 5, 'five variables');
my $script = $t->read_file("$examples/entrypoint.sh");
for my $name (sort keys %default) {
    like($script, qr/^: "\$\{$name:=\Q$default{$name}\E\}"$/m,
        "$name: the same default");
}
is(join(' ', sort keys %{{ map { $_ => 1 } $template =~ /\$\{(\w+)\}/g }}),
    join(' ', sort keys %default), 'all are used, and no other');

my %env = (
    NIGHTLIGHT_HTTP_ADDR => '127.0.0.1:' . $t->port('http'),
    NIGHTLIGHT_DATA_DIR => "$d/data",
    NIGHTLIGHT_RETENTION_DAYS => 3,
    NIGHTLIGHT_MEMORY => '24m',
    NIGHTLIGHT_MODULE => $t->{module},
);
# the nginx of this test is the one that the script finds
mkdir "$d/bin";
symlink $t->{nginx}, "$d/bin/nginx";
my $clean = sub { (map { "--unset=$_" } keys %env), "PATH=$d/bin:$ENV{PATH}",
    map { "$_=$_[0]{$_}" } sort keys %{$_[0]} };

# ---- by hand, with the very line of the comment ----

my ($line) = $template =~ /^#   (envsubst '.*?)< nginx/ms;
$line =~ s/^#//mg;
my $sh = "$line < $examples/nginx.conf.template > $d/data/nginx.conf";
my ($code, $out, $err) = capture($t, ['env', $clean->(\%env), 'sh', '-euc', $sh]);
is($code, 0, 'envsubst') or diag($err);
my $conf = $t->read_file('data/nginx.conf');
unlike($conf =~ s/^#.*$//mgr, qr/\$/, 'nothing is left to fill in');
like($conf, qr/retention=3d;/, 'the retention');
mkdir "$d/data/temp";
($code, $out, $err) = capture($t, [$t->{nginx}, '-t', '-p', "$d/data/", '-c',
    "$d/data/nginx.conf", '-e', "$d/test.log"]);
is($code, 0, 'nginx -t') or diag($err);

# ---- by the script ----

sub script { return capture($t, ['env', $clean->({ %env, @_ }),
    "$examples/entrypoint.sh", '-t']) }

($code, $out, $err) = script();
is($code, 0, 'entrypoint.sh -t') or diag($err);
for my $case (
    (map { [NIGHTLIGHT_RETENTION_DAYS => $_, qr/not a number of days/] }
        '-1', '0', '3d', '1;', "3\n4"),
    (map { [NIGHTLIGHT_HTTP_ADDR => $_, qr/unusable value/] }
        '9101; include /etc/passwd', '9101 default_server', "91\n01",
        '${pid}', '9101}'),
    (map { [NIGHTLIGHT_DATA_DIR => $_, qr/unusable value/] }
        "$d/a b", "$d/\$x", "$d/;"),
    [NIGHTLIGHT_DATA_DIR => 'data', qr/not an absolute path/],
    [NIGHTLIGHT_MEMORY => '24m retention=1y', qr/unusable value/],
    [NIGHTLIGHT_MEMORY => '1m', qr/memory=/],
)
{
    my ($name, $value, $why) = @$case;
    ($code, $out, $err) = script($name => $value);
    isnt($code, 0, "$name='$value' is refused");
    like($err, $why, 'and why');
}
# empty is as good as not there, and has the default
($code, $out, $err) = script(NIGHTLIGHT_RETENTION_DAYS => '');
is($code, 0, 'an empty value');
like($t->read_file('data/nginx.conf'), qr/retention=15d;/, 'has its default');

for my $days (3, 30) {
    $env{NIGHTLIGHT_RETENTION_DAYS} = $days;
    $t->{master} = $t->spawn('env', $clean->(\%env), "$examples/entrypoint.sh");
    ok($t->wait_for(sub { $t->is_ready() }, 'ready', 30), "$days days: starts")
        or diag($t->read_file('logs/env.log'));
    my $now = int(time() * 1000);
    is($t->write({ __name__ => "m$days" }, [$now, $days]), 204, 'writes');
    is($t->value("m$days"), $days, 'reads');
    my $day = 86_400_000;
    # the helper sets the border, soon after the start
    my ($status, $want) = (0, $days == 3 ? 400 : 204);
    $t->wait_for(sub { ($status = $t->write({ __name__ => 'old' },
        [$now - 5 * $day, 1])) == $want }, "status $want");
    is($status, $want, "five days ago with $days days");
    is($t->value('last_over_time(m3[1h])'), 3, 'the data of the first start');
    ok($t->stop(), 'stops');
}
ok(-d "$d/data/store/wal", 'the data is where it was told to be');

$t->done();
