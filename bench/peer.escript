#!/usr/bin/env escript
%%! -noshell
%% The same as for light actors, on Erlang/OTP: prints [["figure", "unit", [values]], ...] as JSON.
%% One-way: two processes send each other messages until it is enough. Spawn: a gen_server-less process that has said
%% that it is there. Restart: a supervised gen_server is killed until its next incarnation answers.
-mode(compile).
-behaviour(gen_server).
-export([init/1, handle_call/3, handle_cast/2]).

-define(MESSAGES, 1000000).
-define(CALLS, 20000).
-define(SPAWNS, 5000).
-define(CRASHES, 200).

main([Runs]) ->
    N = list_to_integer(Runs),
    error_logger:tty(false),
    logger:set_primary_config(level, none),
    Rows = [
        {"one-way messages", "1/s", [one_way() || _ <- lists:seq(1, N)]},
        {"call", "us", calls()},
        {"spawn", "us", [spawns() || _ <- lists:seq(1, N)]},
        {"crash -> serving", "us", crashes()}
    ],
    io:format("[~s]~n", [lists:join(",", [row(R) || R <- Rows])]).

row({Figure, Unit, Values}) ->
    Numbers = lists:join(",", [io_lib:format("~.4f", [float(V)]) || V <- Values]),
    io_lib:format("[\"~s\",\"~s\",[~s]]", [Figure, Unit, Numbers]).

one_way() ->
    Self = self(),
    Count = fun Loop() -> receive {_, 0} -> Self ! done, Loop(); {From, K} -> From ! {self(), K - 1}, Loop() end end,
    A = spawn(Count),
    B = spawn(Count),
    Took = took_us(fun() -> A ! {B, ?MESSAGES}, receive done -> ok end end),
    exit(A, kill), exit(B, kill),
    ?MESSAGES / (Took / 1000000).

calls() ->
    {ok, Pid} = gen_server:start(?MODULE, [], []),
    [took_us(fun() -> gen_server:call(Pid, 1) end) || _ <- lists:seq(1, ?CALLS)].

spawns() ->
    Self = self(),
    Took = took_us(fun() ->
        [begin P = spawn(fun() -> Self ! {self(), there}, receive stop -> ok end end), receive {P, there} -> ok end end
         || _ <- lists:seq(1, ?SPAWNS)] end),
    Took / ?SPAWNS.

crashes() ->
    {ok, Sup} = supervisor:start_link(?MODULE, sup),
    [begin
        [{_, Pid, _, _}] = supervisor:which_children(Sup),
        took_us(fun() -> exit(Pid, kill), again(Sup, Pid) end)
     end || _ <- lists:seq(1, ?CRASHES)].

again(Sup, Old) ->
    case supervisor:which_children(Sup) of
        [{_, Pid, _, _}] when is_pid(Pid), Pid =/= Old -> gen_server:call(Pid, 1);
        _ -> again(Sup, Old)
    end.

took_us(Run) ->
    Began = erlang:monotonic_time(nanosecond),
    Run(),
    (erlang:monotonic_time(nanosecond) - Began) / 1000.

init(sup) ->
    Child = #{id => a, start => {gen_server, start_link, [?MODULE, [], []]}},
    {ok, {#{intensity => 1000000, period => 1}, [Child]}};
init(_) ->
    {ok, 0}.

handle_call(Request, _From, State) -> {reply, Request, State}.
handle_cast(_, State) -> {noreply, State}.
