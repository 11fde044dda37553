#!/usr/bin/perl
# Own metrics: well-formed, the same as text and as samples, documented.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my $t = Nightlight::Test->new();
$t->write_conf(self => '1s');
$t->run();
is($t->write({ __name__ => 'm' }, [int(time() * 1000), 1]), 204, 'written');
my $text = $t->http('GET', '/metrics')->{body};

SKIP: {
    my $promtool = $ENV{TEST_PROMTOOL} || $t->program('promtool');
    skip 'no promtool', 2 unless $promtool;
    $t->write_file('metrics', $text);
    my $out = `$promtool check metrics < @{[$t->dir]}/metrics 2>&1`;
    is($?, 0, 'promtool check metrics');
    is($out, '', 'without complaints');
}

my %type = $text =~ /^# TYPE (\S+) (\S+)$/mg;
my %help = map { $_ => 1 } $text =~ /^# HELP (\S+) \S/mg;

# {family}[sample name, labels, value] of the lines, in order
my (%sample, %value);
for (grep { !/^#/ } split /\n/, $text) {
    my ($name, $labels, $v) = /^(\w+)(\{.*\})? (\S+)$/ or fail("odd: $_");
    (my $family = $name) =~ s/_(?:bucket|sum|count)$//;
    $family = $name if ($type{$family} || '') ne 'histogram';
    push @{$sample{$family}}, [$name, $labels || '', $v];
    $value{$family} = $v;
}
is_deeply([sort keys %value], [sort keys %type], 'each has a type');
is_deeply([sort keys %value], [sort keys %help], 'and help');
is_deeply([grep { ($type{$_} eq 'counter') != /_total$/ } sort keys %type], [],
    'counters are called _total, and nothing else is');

# ---- histograms ----

my @histograms = grep { $type{$_} eq 'histogram' } sort keys %type;
cmp_ok(scalar @histograms, '>=', 6, 'histograms');
for my $h (@histograms) {
    my (%n, %le, %count);
    for (@{$sample{$h}}) {
        my ($name, $labels, $v) = @$_;
        my ($kind) = $labels =~ /(?:kind|result)="(\w+)"/;
        $kind = '' unless defined $kind;
        if ($name eq "${h}_bucket") {
            my ($le) = $labels =~ /le="([^"]+)"/;
            $le = 9 ** 9 ** 9 if $le eq '+Inf';
            fail("$h: buckets in order") if @{$le{$kind} || []}
                && ($le{$kind}[-1] >= $le || $n{$kind} > $v);
            push @{$le{$kind}}, $le;
            $n{$kind} = $v;
        } elsif ($name eq "${h}_count") {
            $count{$kind} = $v;
        }
    }
    is_deeply(\%count, \%n, "$h: the last bucket is the count");
}

my ($doc) = map { $t->read_file("$Nightlight::Test::ROOT/docs/METRICS.md") } 1;
my %in_doc = map { $_ => 1 } $doc =~ /`((?:nightlight|nginx)_\w+)[`{]/g;
delete $in_doc{nginx_version};    # a label
delete @in_doc{map { "nightlight_$_" } qw(metrics self slow_query
    query_concurrency query_timeout limit_samples limit_series)};  # directives
is_deeply([grep { !$in_doc{$_} } sort keys %value], [],
    'all are in docs/METRICS.md');
is_deeply([grep { !$value{$_} && !exists $value{$_} } sort keys %in_doc], [],
    'and it has no others');

$t->wait_for(sub { ($t->value('count({job="nightlight"})') || 0)
    >= ($text =~ tr/\n//) - 2 * keys %type }, 'own samples');
my %seen;
my %self = map { $_->{metric}{__name__} => 1 }
    @{$t->query('{job="nightlight",instance="nginx"}')->{result}};
is_deeply([sort keys %self], [sort map { $_->[0] } grep { !$seen{$_->[0]}++ }
    map { @$_ } values %sample], 'nightlight_self writes the same');
is($t->value('nightlight_query_duration_seconds_bucket'
    . '{kind="instant",le="+Inf",job="nightlight"}') >= 0, 1, 'with labels');

$t->done();
