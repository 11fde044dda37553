#!/usr/bin/perl
# examples/grafana and examples/rules: well-formed, and every expression is
# evaluated by a live store over its own metrics, which have every name in it.
use strict;
use warnings;
use CPAN::Meta::YAML;
use JSON::PP;
use Test::More;
use Nightlight::Test;
use Nightlight::Peers qw(peer peers version capture);

my $t = Nightlight::Test->new();
my $examples = "$Nightlight::Test::ROOT/examples";
my $doc = $t->read_file("$Nightlight::Test::ROOT/docs/METRICS.md");

$t->write_conf(self => '1s');
$t->run();
is($t->write({ __name__ => 'm' }, [int(time() * 1000), 1]), 204, 'a write');
my %known = map { $_ => 1 }
    $t->http('GET', '/metrics')->{body} =~ /^# TYPE (\S+)/mg;
cmp_ok(scalar keys %known, '>', 50, 'metrics');
# two samples of each, the second after queries that succeed and block files
$t->wait_for(sub { ($t->value('count_over_time(nightlight_up[1m])')
    || 0) >= 3 }, 'own samples');

# Every metric of ours in an expression.
sub names { my ($expr) = @_;
    (my $bare = $expr) =~ s/\{[^}]*\}//g;
    return map { s{_bucket$}{}r } $bare =~ /\b((?:nightlight|nginx)_\w+)/g }

my %used;

# The expression is one that works, and these are its series.
sub evaluates {
    my ($expr, $what) = @_;
    my $r = $t->api_post('query', query => $expr, time => time());
    is($r->{status}, 'success', "$what: $expr") or diag($r->{raw});
    is_deeply([$r->{warnings}, grep { !/might not be a counter/ }
        @{$r->{infos} || []}], [undef], 'without notes') or diag($r->{raw});
    my @names = names($expr);
    $used{$_} = 1 for @names;
    is(join(' ', grep { !$known{$_} } @names), '', 'of metrics that there are');
    is(join(' ', grep { $doc !~ /`$_`/ } @names), '', 'and that docs have');
    my $range = $t->api_post('query_range', query => $expr,
        start => time() - 30, end => time(), step => 5);
    is($range->{status}, 'success', 'as a range too');
    return $r->{data}{result};
}

# ---- the dashboard ----

my $text = $t->read_file("$examples/grafana/dashboard.json");
my $dash = eval { decode_json($text) };
ok($dash, 'the dashboard is JSON') or diag($@);
my @panels = map { ($_, @{$_->{panels} || []}) } @{$dash->{panels}};
my (%id, %cell, $n);
for my $p (@panels) {
    ok(!$id{$p->{id}}++, "panel $p->{title}: an id of its own");
    my $g = $p->{gridPos};
    for my $x ($g->{x} .. $g->{x} + $g->{w} - 1) {
        for my $y ($g->{y} .. $g->{y} + $g->{h} - 1) {
            fail("$p->{title} overlaps $cell{$x, $y}") if $cell{$x, $y};
            $cell{$x, $y} = $p->{title};
            fail("$p->{title} is too wide") if $x > 23;
        }
    }
    next if $p->{type} eq 'row';
    is($p->{datasource}{uid}, '${datasource}', 'takes the chosen data source');
    for my $target (@{$p->{targets}}) {
        my $expr = $target->{expr};
        like($expr, qr/job=~"\$job",instance=~"\$instance"/, 'and instance');
        is(() = $expr =~ /\{/g, () = $expr =~ /\$job/g, 'in each selector');
        $expr =~ s/\$__rate_interval/1m/g;
        $expr =~ s/\$(?:job|instance)\b/.*/g;
        unlike($expr, qr/\$/, 'no other variable');
        my $series = evaluates($expr, $p->{title});
        # what needs something that does not happen here
        next if $p->{title} =~ /^(?:Bytes a sample|Days left of .*)$/;
        cmp_ok(scalar @$series, '>=', 1, 'with an answer') or diag($expr);
        $n++;
    }
}
cmp_ok($n, '>', 40, "$n expressions");
for my $v (grep { $_->{type} eq 'query' } @{$dash->{templating}{list}}) {
    my ($match, $label) = $v->{query}{query} =~ /^label_values\((.*), (\w+)\)$/
        or fail("variable $v->{name}");
    $match =~ s/\$\w+/.*/g;
    my $r = $t->api("label/$label/values", 'match[]' => $match);
    cmp_ok(scalar @{$r->{data} || []}, '>=', 1, "variable $v->{name}");
}

# ---- provisioning ----

sub yaml {
    my ($file) = @_;
    my $y = eval { CPAN::Meta::YAML->read_string($t->read_file($file)) };
    ok($y, "$file is YAML") or diag($@);
    return $y->[0];
}

my $source = yaml("$examples/grafana/datasource.yml")->{datasources}[0];
is($source->{type}, 'prometheus', 'a data source of type prometheus');
like($source->{jsonData}{$_}, qr/^true$/, $_) for qw(tlsAuth tlsAuthWithCACert);
for my $what (qw(tlsCACert tlsClientCert tlsClientKey)) {
    my ($file) = ($source->{secureJsonData}{$what} || '')
        =~ m{^\$__file\{/etc/grafana/nightlight/([\w.-]+)\}$};
    ok($file, "$what is a file");
    like($t->read_file("$examples/make-ca.sh"), qr/\Q@{[$file =~ s{\.\w+$}{}r]}/,
        'of make-ca.sh');
}
my ($port) = $source->{url} =~ m{^https://localhost:(\d+)$};
ok($port, 'an address of https');
like($t->read_file("$examples/mtls.conf"),
    qr/listen 127\.0\.0\.1:$port ssl.*?nightlight_query/s,
    'which examples/mtls.conf reads at');
my $provider = yaml("$examples/grafana/dashboards.yml")->{providers}[0];
is($provider->{type}, 'file', 'a provider of files');
like($provider->{options}{path}, qr{^/}, 'in a directory');

# ---- rules ----

my $rules = "$examples/rules/nightlight.yml";
my $yml = $t->read_file($rules);
my @exprs = $yml =~ /^ +expr: (.*)$/mg;
my @alerts = $yml =~ /^ +- alert: (\w+)$/mg;
is(scalar @exprs, scalar @alerts, 'an expression for each alert');
cmp_ok(scalar @alerts, '>=', 20, scalar(@alerts) . ' alerts');
for my $i (0 .. $#alerts) {
    evaluates($exprs[$i], $alerts[$i]);
    # one write has been a while ago; others may fill the disk of this machine
    next if $alerts[$i] =~ /^Nightlight(?:NoSamples|DiskFills)$/;
    is(scalar @{$t->query($exprs[$i])->{result}}, 0,
        'silent in a store that is well');
}
# each thing that docs/METRICS.md says to alert on
my ($table) = $doc =~ /^## What to alert on\n(.*?)^## /ms;
for my $name (sort keys %{{ map { $_ => 1 } $table
    =~ /^\| `[^`]*?(nightlight_\w+)/mg }})
{
    like($yml, qr/expr: .*\b$name\b/, "$name has an alert");
}

my @promtool = peers($t, 'promtool');
SKIP: {
    skip 'no promtool', 2 unless @promtool;
    for my $promtool (@promtool) {
        my $v = version($promtool);
        my ($code, $out, $err) = capture($t, [$promtool, 'check', 'rules',
            $rules]);
        is($code, 0, "promtool $v check rules") or diag("$out$err");
        like("$out$err", qr/@{[scalar @alerts]} rules found/, 'all of them');
        ($code, $out, $err) = capture($t, [$promtool, 'test', 'rules',
            "$examples/rules/nightlight.test.yml"], timeout => 60);
        is($code, 0, "promtool $v test rules") or diag("$out$err");
    }
}

SKIP: {
    my $vmalert = peer($t, 'vmalert');
    skip 'no vmalert: TEST_VMALERT names one', 1 unless $vmalert;
    my ($code, $out, $err) = capture($t, [$vmalert, '-dryRun', "-rule=$rules"]);
    is($code, 0, 'vmalert takes the rules') or diag("$out$err");
}

# ---- and one that is not well ----

my $r = $t->write_pb(Nightlight::Test::series_pb({ __name__ => 'old' },
    [1000, 1]));
is($r->{status}, 400, 'a sample of 1970');
my ($expr) = grep { /samples_too_old/ } @exprs;
ok($t->wait_for(sub { @{$t->query($expr)->{result}} }, 'the alert'),
    'raises NightlightSamplesRefused');

$t->done();
