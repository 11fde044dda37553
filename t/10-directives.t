#!/usr/bin/perl
# nginx -t refuses what cannot work: file, line, reason; touches nothing.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my $t = Nightlight::Test->new();
my $dir = $t->dir;
my $n_line = qr/ in \S*nginx\.conf:\d+/;

sub conf {
    my ($http, $location) = @_;
    $location = '' unless defined $location;
    $t->write_file_expand('nginx.conf', <<"EOF");
load_module %%MODULE%%;
pid nginx.pid;
error_log %%TESTDIR%%/test.log;
events {}
http {
    client_body_temp_path temp/body;
    proxy_temp_path temp/proxy;
    fastcgi_temp_path temp/fastcgi;
    uwsgi_temp_path temp/uwsgi;
    scgi_temp_path temp/scgi;
    $http
    server {
        listen 127.0.0.1:%%PORT_http%%;
        $location
    }
}
EOF
    return $t->config_test();
}

sub accepted {
    my ($name, @conf) = @_;
    my ($code, $out) = conf(@conf);
    is($code, 0, "accepted: $name") or diag($out);
}

sub refused {
    my ($name, $re, @conf) = @_;
    my ($code, $out) = conf(@conf);
    isnt($code, 0, "refused: $name");
    like($out, $re, "reason: $name");
    my @lines = grep { /\[emerg\]/ } split(/\n/, $out);
    is(scalar @lines, 1, "one line: $name") or diag($out);
    like($out, $n_line, "file and line: $name");
}

my $store = "nightlight_store main path=$dir/store head=$dir/head memory=32m;";

accepted('a store and nothing else', $store);
accepted('all handlers', $store, <<'EOF');
    location = /api/v1/write { nightlight_write main; }
    location /api/v1/        { nightlight_query main; }
    location /api/v1/admin/  { nightlight_admin main; }
    location /-/             { nightlight_status main; }
    location = /federate     { nightlight_query main; }
    location = /metrics      { nightlight_metrics main; }
EOF
accepted('store declared after its use is found too',
    "server { location / { nightlight_query main; } } $store");
accepted('every parameter', "nightlight_store main path=$dir/store "
    . "head=$dir/head memory=64m retention=30d wal_sync=500ms "
    . "retention_size=1g min_free=1m exemplars=1m block_format=dense tenant_retention=20d "
    . "tenant_retention=team-a:7d tenant_retention=a:b:30d;"
    . "nightlight_self main 1s instance=edge-1;"
    . "nightlight_query_timeout 30s; nightlight_query_max_samples 1m;"
    . "nightlight_query_max_series 1m;"
    . "nightlight_query_memory 64m; nightlight_lookback 1m;"
    . "nightlight_promql_features experimental-functions duration-expr;"
    . "nightlight_write_max_decoded 16m; nightlight_max_labels 30;"
    . "nightlight_max_label_name 200; nightlight_max_label_value 2k;");

for my $sync ('always', 'off', '10ms', '1m') {
    accepted("wal_sync=$sync", "nightlight_store main path=$dir/store "
        . "head=$dir/head memory=64m wal_sync=$sync;");
}

accepted('block_format=portable', "nightlight_store main path=$dir/store "
    . "head=$dir/head memory=64m block_format=portable;");
refused("block_format=$_", qr/block_format=$_": not "portable" or "dense"/,
    "nightlight_store main path=$dir/store block_format=$_;")
    for 'denser', 'dens', 'Dense', '';
refused('no path', qr/has no "path="/, 'nightlight_store main memory=32m;');
refused('path below nothing', qr/there is no directory/,
    "nightlight_store main path=$dir/none/store memory=32m;");
refused('path is a file', qr/is not a directory/,
    "nightlight_store main path=$dir/nginx.conf memory=32m;");
refused('head does not exist', qr/cannot use head/,
    "nightlight_store main path=$dir/store head=$dir/none memory=32m;");
refused('bad size', qr/not a size/,
    "nightlight_store main path=$dir/store memory=lots;");
refused('too little memory', qr/too little/,
    "nightlight_store main path=$dir/store head=$dir/head memory=1m;");
refused('more memory than the file system has', qr/does not fit/,
    "nightlight_store main path=$dir/store head=$dir/head memory=100000g;");
refused('bad retention', qr/not a time/,
    "nightlight_store main path=$dir/store retention=soon;");
for my $bad (qw(soon team-a: team-a:soon team-a:1s :7d), 'x' x 129 . ':7d') {
    refused("tenant_retention=$bad", qr/not a time|not the name of a tenant/,
        "nightlight_store main path=$dir/store tenant_retention=$bad;");
}
refused('a tenant twice', qr/given twice/, "nightlight_store main "
    . "path=$dir/store tenant_retention=a:7d tenant_retention=a:8d;");
refused('a tenant that keeps more than the store', qr/longer than retention=/,
    "nightlight_store main path=$dir/store head=$dir/head memory=32m "
    . "retention=1d tenant_retention=a:2d;");
for my $bad (qw(retention_size=big retention_size=0 min_free=0
    min_free=-1m exemplars=0 exemplars=many exemplars=63k))
{
    refused($bad, qr/not a size/,
        "nightlight_store main path=$dir/store $bad;");
}
refused('less room than the logs need', qr/is less than memory=/,
    "nightlight_store main path=$dir/store head=$dir/head memory=32m "
    . 'retention_size=31m;');
refused('a reserve that the file system cannot have', qr/can never be free/,
    "nightlight_store main path=$dir/store head=$dir/head memory=32m "
    . 'min_free=1000000g;');
refused('bad wal_sync', qr/interval/,
    "nightlight_store main path=$dir/store wal_sync=maybe;");
refused('no such interval', qr/"always", "off" or an interval/,
    "nightlight_store main path=$dir/store wal_sync=5ms;");
refused('unknown parameter', qr/unknown parameter/,
    "nightlight_store main path=$dir/store colour=blue;");
refused("$_ tenants", qr/not a number from 1 to/,
    "nightlight_store main path=$dir/store tenants=$_;") for '0', 'many', '100001', '';
refused('more tenants than memory', qr/more than an eighth of memory=/,
    "nightlight_store main path=$dir/store head=$dir/head memory=32m tenants=10000;");
refused('duplicate store', qr/duplicate store "main"/, "$store\n$store");
refused('two stores, one directory', qr/same path name/,
    "$store\nnightlight_store b path=$dir/store head=$dir/head memory=32m;");
refused('unknown store', qr/unknown store "other"/, $store,
    'location / { nightlight_query other; }');
refused('own metrics of an unknown store', qr/unknown store/,
    'nightlight_self other;');
refused('tenants that may be made', qr/it must be "on" or "off"/, $store,
    'location / { nightlight_query main; nightlight_tenant_create perhaps; }');
refused('two handlers in one location', qr/cannot stand beside/, $store,
    'location / { nightlight_query main; nightlight_write main; }');
refused('location by regular expression', qr/regular expression/, $store,
    'location ~ ^/api { nightlight_query main; }');
refused('unlimited body', qr/client_max_body_size/, $store,
    'location / { nightlight_write main; client_max_body_size 0; }');
refused('body larger than what can be decoded', qr/client_max_body_size/,
    $store, 'location / { nightlight_write main; client_max_body_size 64m; }');
refused('body too small', qr/below 64k/, $store,
    'location / { nightlight_write main; client_max_body_size 1k; }');
refused('unknown feature', qr/unknown feature/,
    "$store nightlight_promql_features magic;");
refused('zero lookback', qr/must not be zero/, $store,
    'location / { nightlight_query main; nightlight_lookback 0; }');

for my $bad ('nightlight_query_timeout 0', 'nightlight_query_timeout 400d',
    'nightlight_lookback 400d', 'nightlight_query_max_samples 0',
    'nightlight_query_max_series 0',
    'nightlight_query_memory 0', 'nightlight_query_memory 1k')
{
    refused($bad, qr/must (?:not )?be/, $store,
        "location / { nightlight_query main; $bad; }");
}
refused('a variable in a parameter', qr/variables/,
    'nightlight_store main path=$document_root/store;');
for my $d ('nightlight_query main', 'nightlight_write main',
    'nightlight_status main', 'nightlight_metrics main')
{
    refused("$d outside of a location", qr/not allowed here/, "$store $d;");
    refused("$d in if", qr/not allowed here/, $store,
        "location / { if (\$arg_a) { $d; } }");
    refused("$d in limit_except", qr/not allowed here/, $store,
        "location / { limit_except GET { $d; } }");
}
refused('a store in a server', qr/not allowed here/, '', $store);
refused('a handler in a named location', qr/named location/, $store,
    'location @x { nightlight_query main; }');
accepted('conditions in a location', $store, <<'EOF');
    location / {
        nightlight_query main;
        if ($arg_a) { set $b 1; }
        limit_except GET { deny all; }
    }
EOF

# the documented defaults are those of the code
my $doc = $t->read_file("$Nightlight::Test::ROOT/docs/DIRECTIVES.md");
for my $d (qw(nightlight_query_timeout nightlight_query_max_samples nightlight_query_max_series
    nightlight_query_memory nightlight_lookback nightlight_promql_features
    nightlight_cors nightlight_write_max_decoded nightlight_max_labels
    nightlight_max_label_name nightlight_max_label_value nightlight_store
    nightlight_self nightlight_write nightlight_query nightlight_status
    nightlight_metrics nightlight_admin nightlight_tenant))
{
    like($doc, qr/`?$d\b/, "$d is documented");
}
my $src = $t->read_file(
    "$Nightlight::Test::ROOT/ngx_module/ngx_http_nightlight_module.c");
while ($src =~ /ngx_string\("(nightlight_\w+)"\)/g) {
    like($doc, qr/$1\b/, "$1 of the source is documented");
}

# -t touches no live data: a running store does not notice
$t->write_conf();
$t->run();
is($t->write({ __name__ => 'm' }, [time() * 1000, 1]), 204, 'a sample');
# the helper has made the log of the next arena, too
$t->wait_for(sub { my @wal = glob "$dir/store/wal/*"; @wal == 2 && !grep /\.tmp$/, @wal },
    'both logs are there', 20);
my %before = map { $_ => -s $_ } glob "$dir/store/* $dir/store/*/* $dir/head/*";
my ($code) = $t->config_test();
is($code, 0, 'test of the running configuration');
my %after = map { $_ => -s $_ } glob "$dir/store/* $dir/store/*/* $dir/head/*";
is_deeply([sort keys %after], [sort keys %before], 'no file came or went');
is(scalar @{$t->query('m')->{result}}, 1, 'the sample is there');

$t->done();
