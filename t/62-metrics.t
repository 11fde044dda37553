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
my %value = $text =~ /^(\w+) (\S+)$/mg;
is_deeply([sort keys %value], [sort keys %type], 'each has a type');
is_deeply([sort keys %value], [sort keys %help], 'and help');
is_deeply([grep { ($type{$_} eq 'counter') != /_total$/ } sort keys %type], [],
    'counters are called _total, and nothing else is');

my ($doc) = map { $t->read_file("$Nightlight::Test::ROOT/docs/METRICS.md") } 1;
my %in_doc = map { $_ => 1 } $doc =~ /`((?:nightlight|nginx)_\w+)/g;
delete @in_doc{qw(nightlight_metrics nightlight_self)};    # directives
is_deeply([grep { !$in_doc{$_} } sort keys %value], [],
    'all are in docs/METRICS.md');
is_deeply([grep { !$value{$_} && !exists $value{$_} } sort keys %in_doc], [],
    'and it has no others');

$t->wait_for(sub { ($t->value('count({job="nightlight"})') || 0)
    >= keys %value }, 'own samples');
my %self = map { $_->{metric}{__name__} => 1 }
    @{$t->query('{job="nightlight",instance="nginx"}')->{result}};
is_deeply([sort keys %self], [sort keys %value],
    'nightlight_self writes the same');

$t->done();
