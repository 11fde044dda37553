#!/usr/bin/perl
# What package and documents say of the tree is so; examples/site.conf, which
# is read inside of another nginx.conf, serves.  `make test-deb` installs the
# package itself.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my $t = Nightlight::Test->new();
my $root = $Nightlight::Test::ROOT;
sub text { return $t->read_file("$root/$_[0]") }

# ---- the package ----

my ($version) = text('core/nightlight.h') =~ /^#define NLT_VERSION "(.*)"$/m;
my ($package, $in_changelog) = text('debian/changelog') =~ /^(\S+) \(([^)]+)\)/;
is($in_changelog, $version, 'the version of the package');
is($package, 'libnginx-mod-http-nightlight', 'its name, by which dh_nginx finds the module');
my $control = text('debian/control');
like($control, qr/^\Q$_\E$/m, "debian/control: $_") for "Source: $package",
    ' dh-sequence-nginx,', "Package: $package";
like(text('config'), qr/^ngx_addon_name=ngx_http_nightlight_module$/m,
    'the name of the module');
for my $list (glob "$root/debian/$package.{docs,examples}") {
    for my $what (split /\n/, $t->read_file($list)) {
        my @there = glob "$root/$what";
        cmp_ok(scalar(grep { -e } @there), '>=', 1, "debian: $what");
    }
}

# ---- documents ----

# links of Markdown to files of the tree
for my $file (glob "$root/*.md $root/docs/*.md $root/t/README.md") {
    my $text = $t->read_file($file);
    (my $dir = $file) =~ s{/[^/]+$}{};
    my @gone = grep { !/^\w+:/ && !-e "$dir/$_" }
        map { s/#.*//r } $text =~ /\]\(([^)#\s][^)\s]*)\)/g;
    is(join(' ', @gone), '', ($file =~ s{^\Q$root\E/}{}r) . ': links');
}

# tests that docs/SECURITY.md names
my $security = text('docs/SECURITY.md');
my @tests = grep { my @files = glob "$root/t/$_-*.t"; !@files }
    $security =~ m{\bt/(\d\d)\b}g;
is(join(' ', @tests), '', 'SECURITY.md names tests that there are');
my @fuzz = grep { !-e "$root/t/fuzz/fuzz_$_.c" } $security =~ m{\bfuzz/(\w+)}g;
is(join(' ', @fuzz), '', 'and fuzz targets');
my @unit = grep { !-e "$root/t/unit/$_" . '_test.c' }
    $security =~ m{\bunit/(\w+/\w+)}g;
is(join(' ', @unit), '', 'and unit tests');
my $directives = text('docs/DIRECTIVES.md');
my @unknown = grep { $directives !~ /\b\Q$_\E\b/ }
    $security =~ /`(nightlight_\w+)`/g;
is(join(' ', @unknown), '', 'and directives');

# a name in a certificate that only looks like that of another
for my $file (glob "$root/docs/*.md $root/examples/*.conf") {
    my @part = $t->read_file($file) =~ /(^[^#\n]*map +\$ssl_client_s_dn[^}]*~(?!\^)[^}]*\})/mg;
    is(join("\n", @part), '', ($file =~ s{^\Q$root\E/}{}r)
        . ': compares all of a subject');
}

# ---- examples/site.conf ----

my $conf = text('examples/site.conf');
my $d = $t->dir;
$conf =~ s{127\.0\.0\.1:9101}{'127.0.0.1:' . $t->port('http')}e;
$conf =~ s{path=/var/lib/nginx/nightlight}{path=$d/store head=$d/head};
mkdir "$d/conf.d";
$t->write_file('conf.d/nightlight.conf', $conf);
my $user = $> ? '' : 'user root;';
$t->write_file_expand('nginx.conf', <<"EOF");
load_module %%MODULE%%;
$user
daemon off;
pid %%TESTDIR%%/nginx.pid;
error_log %%TESTDIR%%/error.log info;
events {}
http {
    access_log %%TESTDIR%%/access.log;
    client_body_temp_path %%TESTDIR%%/temp/body;
    proxy_temp_path       %%TESTDIR%%/temp/proxy;
    fastcgi_temp_path     %%TESTDIR%%/temp/fastcgi;
    uwsgi_temp_path       %%TESTDIR%%/temp/uwsgi;
    scgi_temp_path        %%TESTDIR%%/temp/scgi;
    include %%TESTDIR%%/conf.d/*.conf;
}
EOF
$t->run();
is($t->write({ __name__ => 'm' }, [int(time() * 1000), 7]), 204,
    'site.conf: writes');
is($t->value('m'), '7', 'reads');
is($t->http('GET', '/metrics')->{status}, 200, 'metrics');

$t->done();
