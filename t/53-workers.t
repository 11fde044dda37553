#!/usr/bin/perl
# Any number of workers, or none: the same answers.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my @queries = ('m', 'sum(m)', 'rate(m[1m])', 'count by (i) (m) > 0',
    'm offset 10s', 'sum_over_time(m[30s:5s])', '{i=~"1|2"}');
my $t0 = int(time()) - 600;
my %answers;

for my $main ('worker_processes 1;', 'worker_processes 4;',
    'master_process off;')
{
    my $t = Nightlight::Test->new();
    $t->write_conf(main => $main);
    $t->run();
    is(scalar(grep { $t->http('GET', '/-/ready')->{status} != 200 } 1 .. 40),
        0, "$main what one says of being ready holds for all");
    for my $k (0 .. 40) {
        my $st = $t->write(map { ({ __name__ => 'm', i => "$_" },
            [($t0 + 5 * $k) * 1000, $k * $_]) } 0 .. 5);
        is($st, 204, "$main written") if $st != 204 || $k == 40;
    }
    for my $q (@queries) {
        my $r = $t->query($q, time => $t0 + 200)->{result};
        my $text = JSON::PP->new->canonical->encode(
            [sort { JSON::PP->new->canonical->encode($a->{metric})
                cmp JSON::PP->new->canonical->encode($b->{metric}) } @$r]);
        $answers{$q} ||= $text;
        is($text, $answers{$q}, "$main $q");
    }
    $t->stop();
    my $log = join "\n", grep { /\[(alert|emerg|crit)\]/ }
        split /\n/, $t->read_file('error.log');
    is($log, '', "$main no alert");
}
done_testing();
