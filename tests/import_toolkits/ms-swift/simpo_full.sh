swift rlhf --rlhf_type simpo --model google/gemma-2-9b-it --use_hf true --tuner_type full \
  --dataset hf::princeton-nlp/gemma2-ultrafeedback-armorm --beta 10 --simpo_gamma 5 --cpo_alpha 0 \
  --torch_dtype bfloat16 --attn_impl eager --max_length 2048 --learning_rate 8e-7 --warmup_ratio 0.1 \
  --num_train_epochs 1 --per_device_train_batch_size 2 --gradient_accumulation_steps 16 --save_strategy epoch
