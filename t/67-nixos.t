#!/usr/bin/perl
# examples/nixos/nightlight.nix: evaluated by nix, and what it says to nginx
# is what nginx takes and serves.
#
# nixpkgs is not here (it would have to be fetched): a lib of few lines stands
# for that of nixpkgs, with the same names and meaning as far as the module
# uses them, and merges options as this one needs.  So types are not checked,
# and nginx is the one of this machine, not one that nixpkgs builds.
use strict;
use warnings;
use JSON::PP;
use Test::More;
use Nightlight::Test;
use Nightlight::Peers qw(capture);

my $t = Nightlight::Test->new();
my $nix = $t->program('nix-instantiate');
plan(skip_all => 'no nix-instantiate (nix-bin)') unless $nix;
my $d = $t->dir;
my $module = "$Nightlight::Test::ROOT/examples/nixos/nightlight.nix";

$t->write_file('eval.nix', <<'NIX');
{ module, settings }:
let
  lib = rec {
    mkOption = o: { _option = true; } // o;
    mkEnableOption = what: mkOption { default = false; description = what; };
    mkIf = condition: content: { _if = condition; inherit content; };
    optionalString = c: s: if c then s else "";
    optionalAttrs = c: a: if c then a else { };
    concatStrings = builtins.concatStringsSep "";
    mapAttrsToList = f: a: map (n: f n a.${n}) (builtins.attrNames a);
    types = {
      str = "str"; path = "path"; lines = "lines";
      nullOr = t: t;
      listOf = t: t;
      attrsOf = t: { _attrsOf = t; };
      submodule = m: { _submodule = m; };
    };
  };
  fail = where: throw "no such option, or no value: ${where}";

  # Values of the options o: what was set, or the default.
  resolve = where: o: set:
    if o ? _option then
      let value = if set == null then o.default or (fail where) else set; in
      if o ? type && o.type ? _attrsOf
      then builtins.mapAttrs (n: v: submodule "${where}.${n}" o.type._attrsOf._submodule n v) value
      else value
    else
      let
        unknown = builtins.filter (n: !(o ? ${n})) (builtins.attrNames (if set == null then { } else set));
      in
      if unknown != [ ] then fail "${where}.${builtins.head unknown}" else
      builtins.mapAttrs (n: v: resolve "${where}.${n}" v
        (if set == null then null else set.${n} or null)) o;

  submodule = where: m: name: set:
    let
      self = resolve where (m { inherit name config; }).options (removeAttrs set [ "extra" ]);
      config = self;
      made = (m { inherit name config; }).config or { };
    in
    self // builtins.mapAttrs (n: c: if c ? _if then (if c._if then c.content else { }) else c) made;

  m = import module {
    inherit lib;
    config.services.nginx = resolve "services.nginx" m.options.services.nginx settings;
    pkgs = { snappy = "snappy"; pcre2 = "pcre2"; xxHash = "xxHash"; };
  };
  hosts = (resolve "services.nginx" m.options.services.nginx settings).virtualHosts;
  out = if m.config._if then m.config.content else { };
in
{
  enabled = m.config._if;
  options = m.options.services.nginx.nightlight;
  inherit hosts;
} // (if m.config._if then {
  assertion = (builtins.head out.assertions).assertion;
  http = out.services.nginx.appendHttpConfig;
  modules = out.services.nginx.additionalModules;
  unit = out.systemd.services.nginx.serviceConfig;
} else { })
NIX

sub evaluate {
    my ($settings, $what) = @_;
    $t->write_file('settings.nix', $settings);
    my ($code, $out, $err) = capture($t, ['env', "HOME=$d", "NIX_STORE_DIR=$d/nix",
        "NIX_STATE_DIR=$d/nixvar", "NIX_LOG_DIR=$d/nixlog",
        "NIX_CONF_DIR=$d/nixconf", $nix, '--eval', '--strict', '--json',
        '--argstr', 'module', $module, '--arg', 'settings',
        "import $d/settings.nix", '-A', $what, "$d/eval.nix"]);
    return ($code ? undef : JSON::PP->new->allow_nonref->decode($out), $err);
}

# ---- switched off it adds nothing ----

my ($v, $err) = evaluate('{ virtualHosts = { }; }', 'enabled');
ok(defined $v && !$v, 'off unless it is enabled') or diag($err);

# ---- a store, and hosts ----

my $settings = <<"NIX";
{
  nightlight = {
    enable = true;
    src = "/src";
    stores.main = { path = "$d/store"; head = "$d/head"; memory = "24m";
      retention = "30d"; walSync = "always"; minFree = "1m"; };
    stores.other = { };
  };
  virtualHosts."a" = { nightlight = { store = "main"; write = true; query = true;
    status = true; metrics = true; admin = "deny all;"; }; };
  virtualHosts."b" = { nightlight = { store = "main"; query = true; }; };
  virtualHosts."c" = { };
}
NIX
($v, $err) = evaluate($settings, 'http');
is($v, <<"EOF", 'the stores') or diag($err);
nightlight_store main path=$d/store memory=24m head=$d/head retention=30d min_free=1m wal_sync=always;
nightlight_self main 15s;
nightlight_store other path=/var/lib/nightlight/other memory=256m retention=15d;
nightlight_self other 15s;
EOF
my $http = $v;
my ($modules) = evaluate($settings, 'modules');
is_deeply($modules, [{ name => 'nightlight', src => '/src',
    inputs => [qw(snappy pcre2 xxHash)],
    allowMemoryWriteExecute => JSON::PP::true }], 'the module to compile');
my ($unit) = evaluate($settings, 'unit');
is($unit->{StateDirectory}, 'nightlight', 'a directory for the default path');
is((evaluate($settings, 'assertion'))[0], JSON::PP::true, 'assertions hold');
is((evaluate($settings =~ s/^ +stores\..*?;( \};)?$//mgr =~ s/^ +retention .*$//mr,
    'assertion'))[0], JSON::PP::false, 'without a store they do not');
(undef, $err) = evaluate($settings =~ s/walSync/walsync/r, 'http');
like($err, qr/no such option.*walsync/, 'an unknown option is an error');
(undef, $err) = evaluate($settings =~ s/src = "\/src";//r, 'modules');
like($err, qr/no value: services\.nginx\.nightlight\.src/, 'src must be given');

my ($hosts) = evaluate($settings, 'hosts');
is_deeply([map { join ' ', sort keys %{$hosts->{$_}{locations} || {}} } qw(a b c)],
    ['/-/ /api/v1/ /api/v1/admin/ = /api/v1/write = /metrics', '/api/v1/', ''],
    'locations');

# ---- nginx takes it ----

$http =~ s/^.*\bother\b.*\n//mg;
my $servers = '';
for my $name (qw(a b)) {
    my $l = $hosts->{$name}{locations};
    $servers .= 'server { listen 127.0.0.1:%%PORT_'
        . ($name eq 'a' ? 'http' : $name) . "%%;\n"
        . join('', map { "location $_ { $l->{$_}{extraConfig} }\n" } sort keys %$l)
        . "}\n";
}
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
    $http
    $servers
}
EOF
$t->run();
is($t->write({ __name__ => 'm' }, [int(time() * 1000), 7]), 204, 'host a writes');
is($t->value('m'), '7', 'and reads');
is($t->http('POST', '/api/v1/admin/tsdb/snapshot')->{status}, 403,
    'admin has what was said');
is($t->http('GET', '/metrics')->{status}, 200, 'metrics');
like($t->http('GET', '/api/v1/query?query=m', port => 'b')->{body}, qr/"7"/,
    'host b reads');
is($t->http('GET', '/metrics', port => 'b')->{status}, 404, 'and no more');

# each parameter of nightlight_store that there is has an option
my ($table) = $t->read_file("$Nightlight::Test::ROOT/docs/DIRECTIVES.md")
    =~ /^### nightlight_store(.*?)^`wal_sync/ms;
my $text = $t->read_file($module);
for my $p ($table =~ /^\| `(\w+)=`/mg) {
    like($text, qr/parameter "$p"|\b$p=\$/, "$p= has an option");
}

$t->done();
