#!/usr/bin/perl
# `make run` and `make run-mtls` behind their build: the commands that README
# and terminal show are those that work.  In a copy of the tree, since both
# keep their data in it and have fixed ports.
use strict;
use warnings;
use File::Copy ();
use POSIX ();
use Test::More;
use Nightlight::Test;

my $t = Nightlight::Test->new();
my $root = $Nightlight::Test::ROOT;
for (qw(curl openssl)) { plan(skip_all => "needs $_") unless $t->program($_) }
my $d = $t->dir;
my %port = (9101 => 'http', 9102 => 'admin', 9443 => 'write',
    9444 => 'read', 9560 => 'ocsp');

mkdir "$d/tree";
mkdir "$d/tree/$_" for qw(tools build examples bin);
chmod 0755, $d;
symlink $t->{module}, "$d/tree/build/ngx_http_nightlight_module.so";
symlink $t->{nginx}, "$d/tree/bin/nginx";
for my $file ('tools/run', 'examples/make-ca.sh', map { s{^\Q$root/\E}{}r }
    glob "$root/examples/*.conf")
{
    my $text = $t->read_file("$root/$file");
    $text =~ s/127\.0\.0\.1:(\d{4})\b/"127.0.0.1:" . $t->port($port{$1})/ge
        if $file =~ /conf$/;
    # not beside others in the memory of the machine
    $text =~ s{path=store }{path=store head=$d/head };
    $t->write_file("tree/$file", $text);
    chmod 0755, "$d/tree/$file" unless $file =~ /conf$/;
}
my $readme = $t->read_file("$root/README.md");
my $log = 'logs/run.log';

# A command that was shown, in the tree: (exit code, output).
sub shown {
    my ($command) = @_;
    my $out = `cd $d/tree && { $command; } 2>/dev/null`;
    return ($? >> 8, $out);
}

sub start {
    my (@what) = @_;
    $t->write_file($log, '');
    local $ENV{PATH} = "$d/tree/bin:$ENV{PATH}";
    my $pid = $t->spawn("$d/tree/tools/run", @what);
    ok($t->wait_for(sub { $t->read_file($log) =~ /^  Stop /m }, 'it runs', 60),
        "tools/run @what") or diag($t->read_file($log));
    return $pid;
}

sub end {
    my ($pid) = @_;
    kill 'TERM', $pid;
    ok($t->wait_for(sub { waitpid($pid, POSIX::WNOHANG) == $pid }, 'its end', 30),
        'stops');
    $t->{pids} = [grep { $_ != $pid } @{$t->{pids}}];
    like($t->read_file($log), qr/^stopped$/m, 'and says so');
}

# The line that is shown behind a word.
sub line { my ($word) = @_;
    return ($t->read_file($log) =~ /^  $word +(.*?)(?:   .*)?$/m)[0] }

my $pid = start();
my $try = line('Try');
like($try, qr/^curl /, 'it shows what to try');
my ($code, $out);
ok($t->wait_for(sub { ($code, $out) = shown($try);
    return $out =~ /"nginx_http_requests_total"/ }, 'data', 30),
    'which has an answer') or diag($out);
end($pid);

for my $round (1, 2) {
    $pid = start('mtls');
    $try = line('Try');
    my $port = $t->port('read');
    (my $of_readme = $try) =~ s/:$port/:9444/;
    $of_readme = quotemeta $of_readme;
    $of_readme =~ s/(?:\\ )+/(?:\\s|\\\\)+/g;
    like($readme, qr/$of_readme/, 'it shows what README has');
    ok($t->wait_for(sub { ($code, $out) = shown($try);
        return $out =~ /"nightlight_up"/ }, 'data', 30),
        'which has an answer') or diag($out);
    if ($round == 2) {
        ($code, $out) = shown(line('Revoke'));
        is($code, 0, 'the reader is revoked');
        ok($t->wait_for(sub { ($code, $out) = shown($try);
            return $out =~ /400 The SSL certificate error/ }, 'the reload'),
            'and refused') or diag($out);
    }
    end($pid);
}
like($t->read_file('tree/run-mtls/error.log'), qr/certificate revoked/,
    'the log that it names says why');
like($readme, qr/^    make run-mtls /m, 'README has the command');
like($t->read_file("$root/Makefile"), qr/^run-mtls:.*?tools\/run mtls$/ms,
    'and the Makefile too');

$t->done();
